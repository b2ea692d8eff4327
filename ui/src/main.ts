import "./styles/tokens.css";
import "./styles/base.css";
import { mount } from "svelte";
import Root from "./Root.svelte";
import { createApp } from "./lib/app";
import { chooseBackend } from "./lib/backend/choose";

const target = document.getElementById("app");
if (target !== null) {
  const app = createApp(await chooseBackend());
  app.live.start();
  void app.look.load();
  mount(Root, { target, props: { app } });
}
