// What all parts of the page share: the state, what is known of the runs, and the worker.

import { Picture } from "./picture";
import type { ToWorker } from "./protocol";
import { fromHash, type State } from "./state";

declare const WORKER_SOURCE: string;

export const byId = (id: string) => document.getElementById(id)!;

interface App {
  state: State;
  /** Sentences on what could not be used. */
  complaints: string[];
  picture: Picture;
  /** Number of the present runs: what the worker says of others is too late. */
  run: number;
  playing: boolean;
  /** The stop of the tour; -1 outside of it. */
  tour: number;
  /** Rates of the sweep that are not finished. */
  wanted: number[];
  /** The ends of a drag over the rates. */
  dragged: [number, number] | null;
}

export const app: App = {
  ...fromHash(location.hash),
  picture: new Picture(),
  run: 0,
  playing: true,
  tour: -1,
  wanted: [],
  dragged: null,
};

const source = new Blob([WORKER_SOURCE], { type: "text/javascript" });
export const worker = new Worker(URL.createObjectURL(source));

export function send(message: ToWorker): void {
  worker.postMessage(message);
}
