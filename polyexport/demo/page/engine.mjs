/** The page's side of the worker that runs the model: of the waiting drawings, only the newest is run. */

/** @returns {Promise<{provider: "webgpu" | "wasm", threads: number, label: string}[]>} ways to run the network, the best first */
export async function waysToRun() {
  const ways = [];
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  // A software implementation of WebGPU is slower than WASM.
  if (adapter && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter)) {
    ways.push({ provider: "webgpu", threads: 1, label: "GPU (WebGPU)" });
  }
  const threads = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;
  if (threads > 1) ways.push({ provider: "wasm", threads, label: `CPU (WASM), ${threads} threads` });
  ways.push({ provider: "wasm", threads: 1, label: "CPU (WASM), 1 thread" });
  return ways;
}

/** @returns {string} why WASM runs on one thread in this browser; empty if it can run on several */
export function whyOneThread() {
  if (globalThis.crossOriginIsolated) return "";
  const slower = "so the network runs on one, slower";
  if (typeof SharedArrayBuffer === "undefined" && !("crossOriginIsolated" in globalThis)) {
    return `This browser has no WASM threads, ${slower}.`;
  }
  if (!globalThis.isSecureContext) {
    return `WASM threads need HTTPS, or a page from this same machine, ${slower}.`;
  }
  return (
    `WASM threads are off, ${slower}: this page was not served with ` +
    "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp."
  );
}

/** A worker that holds a model, a second worker that loads the next model, and the drawing that waits for a run. */
export class Engine {
  #worker = null;
  #next = null;
  #busy = false;
  #waiting = null;
  #running = null;
  #on;

  /**
   * @param {{progress: Function, loaded: Function, result: Function, failed: Function}} on functions that are called with the workers' messages
   */
  constructor(on) {
    this.#on = on;
  }

  /** Load a model in a new worker, because the runtime fixes its number of threads when it starts. */
  load(url, { provider, threads }) {
    this.#next?.terminate();
    const worker = new Worker(new URL("./worker.mjs", import.meta.url), { type: "module" });
    this.#next = worker;
    worker.onmessage = ({ data }) => this.#take(worker, data);
    worker.onerror = (event) => {
      event.preventDefault();
      const message = event.message || "The program that runs the model cannot be fetched or started";
      this.#take(worker, { type: "failed", message, remedy: "check that the server still runs, and reload the page" });
    };
    worker.postMessage({ type: "load", url: new URL(url, document.baseURI).href, provider, threads });
  }

  /** Whether a model is loaded. */
  get ready() {
    return this.#worker !== null;
  }

  /**
   * Run the model on a drawing when the running job is done; a newer drawing replaces one that waits.
   *
   * @param {{image: Uint8Array, width: number, height: number, values: any[], rgb: number[]}} job the drawing, the values
   *   of the model's conditions as it takes them, and the color of a fill; comes back with its result
   */
  run(job) {
    this.#waiting = job;
    this.#send();
  }

  #take(worker, data) {
    if (worker === this.#next) {
      if (data.type === "loaded") {
        this.#worker?.terminate();
        this.#worker = worker;
        this.#busy = false;
        this.#waiting = null; // it was drawn for the earlier model; `loaded` asks for a new run
      }
      if (data.type === "failed") worker.terminate();
      if (data.type !== "progress") this.#next = null;
      this.#on[data.type]({ ...data, during: "load" });
    } else if (worker === this.#worker) {
      this.#busy = false;
      if (data.type === "failed") {
        worker.terminate();
        this.#worker = null;
      }
      this.#on[data.type]({ ...data, job: this.#running, during: "run" });
    } // any other message comes from a worker that was terminated
    this.#send();
  }

  #send() {
    if (this.#worker === null || this.#busy || this.#waiting === null) return;
    this.#running = this.#waiting;
    this.#waiting = null;
    this.#busy = true;
    const { image, width, height, values, rgb } = this.#running;
    this.#worker.postMessage({ type: "run", image, width, height, values, rgb });
  }
}
