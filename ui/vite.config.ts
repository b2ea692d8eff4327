import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// Mode `memory` is the page with a played controller, for `npm run dev` and the browser tests. Nothing of it is in the
// production build: the import stands behind a condition that is false there.
export default defineConfig(({ mode }) => ({
  plugins: [svelte()],
  build: {
    target: "es2022",
    outDir: mode === "memory" ? "dist-memory" : "dist",
    emptyOutDir: true,
    // The policy of the page allows neither inline scripts nor inline styles, so nothing may be inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    reportCompressedSize: false,
  },
  resolve: process.env["VITEST"] === undefined ? {} : { conditions: ["browser"] },
  test: {
    include: ["tests/unit/**/*.test.ts"],
    environment: "node",
  },
}));
