import js from "@eslint/js";
import svelte from "eslint-plugin-svelte";
import globals from "globals";
import ts from "typescript-eslint";
import svelteConfig from "./svelte.config.js";

export default ts.config(
  { ignores: ["dist/", "dist-memory/", "node_modules/", "src/lib/backend/types.ts"] },
  js.configs.recommended,
  ...ts.configs.strict,
  ...ts.configs.stylistic,
  ...svelte.configs.recommended,
  {
    languageOptions: { globals: { ...globals.browser } },
    rules: {
      "@typescript-eslint/consistent-type-definitions": ["error", "interface"],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      "@typescript-eslint/switch-exhaustiveness-check": "off",
      eqeqeq: "error",
      "no-console": "error",
      // State is replaced whole and never edited in place, so plain sets, maps and dates are enough.
      "svelte/prefer-svelte-reactivity": "off",
      // One file knows which window this page is in.
      "no-restricted-imports": [
        "error",
        { patterns: [{ group: ["@tauri-apps/*"], message: "Only src/lib/backend/tauri.ts speaks to Tauri." }] },
      ],
    },
  },
  {
    files: ["**/*.svelte", "**/*.svelte.ts"],
    languageOptions: {
      parserOptions: { extraFileExtensions: [".svelte"], parser: ts.parser, svelteConfig },
    },
  },
  {
    files: ["src/lib/backend/tauri.ts"],
    rules: { "no-restricted-imports": "off" },
  },
  {
    files: ["tests/**", "*.config.*"],
    languageOptions: { globals: { ...globals.node } },
  },
);
