// The worker: gives the present session slices of time, and listens to the page in between.

import { Engine } from "./engine";
import type { FromWorker, ToWorker } from "./protocol";
import { Session } from "./session";

const scope = self as unknown as {
  postMessage(message: FromWorker): void;
  onmessage: (event: { data: ToWorker }) => void;
};
const kernel = Engine.load();
const post = (message: FromWorker) => scope.postMessage(message);
let session: Session | null = null;
const next = new MessageChannel();
let waiting = false;

function wake(): void {
  if (waiting || !session?.busy) return;
  waiting = true;
  next.port2.postMessage(null);
}

next.port1.onmessage = () => {
  waiting = false;
  session?.slice();
  wake();
};

scope.onmessage = ({ data }) => {
  kernel.then((loaded) => obey(loaded, data)).catch((error) => {
    setTimeout(() => {
      throw error; // here, so that the page hears of it
    });
  });
};

function obey(loaded: Awaited<typeof kernel>, message: ToWorker): void {
  switch (message.kind) {
    case "start":
      session?.close();
      session = new Session(loaded, post, message.run, message.config, message);
      break;
    case "play":
      session?.play(message.playing);
      break;
    case "step":
      session?.step();
      break;
    case "select":
      session?.select(message.at);
      break;
    case "sweep":
      session?.sweep(message.rates);
      break;
  }
  wake();
}
