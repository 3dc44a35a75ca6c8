// The page: starts everything, and takes what the worker says.

import { change, showTour, start } from "./actions";
import { draw, type Panel } from "./drawings";
import { listen } from "./listen";
import type { FromWorker } from "./protocol";
import { app, worker } from "./store";
import { makeTips } from "./tip";

const CHANGED: Record<FromWorker["kind"], readonly Panel[]> = {
  losses: ["loss", "sentence"],
  smoothness: ["smoothness", "sentence"],
  spectrum: ["spectrum", "sentence"],
  noise: ["noise", "sentence"],
  iterate: ["heat"],
  sweep: ["sensitivity", "sentence"],
};

worker.onmessage = ({ data }: { data: FromWorker }) => {
  if (data.run !== app.run) return;
  app.picture.add(data);
  const { picture, state } = app;
  app.wanted = app.wanted.filter((rate) => picture.sweep.get(rate)?.step !== state.steps);
  draw(...CHANGED[data.kind]);
  if (data.kind === "losses" && data.points.some(({ step }) => step === 0)) draw("sensitivity");
};

worker.onerror = ({ message }) => {
  app.complaints = [
    `The computation stopped (${message}). Reload the page, or try smaller numbers; it needs a browser that has WebAssembly with SIMD, as all have since 2023.`,
  ];
  draw("sentence");
};

// For the tests, and for the curious: the state, all numbers that are drawn, and how to change them.
Object.assign(window, {
  playground: {
    get state() {
      return app.state;
    },
    get picture() {
      return app.picture;
    },
    change,
  },
});

makeTips();
listen();
showTour();
start();
