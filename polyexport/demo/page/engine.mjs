/** The worker that holds the model, as the page sees it: the newest drawing wins. */

/** @returns {Promise<{provider: "webgpu" | "wasm", threads: number, label: string}[]>} ways to run, the best first */
export async function waysToRun() {
  const ways = [];
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  // Software that stands in for a GPU is slower than WASM.
  if (adapter && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter)) {
    ways.push({ provider: "webgpu", threads: 1, label: "GPU (WebGPU)" });
  }
  const threads = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;
  if (threads > 1) ways.push({ provider: "wasm", threads, label: `CPU (WASM), ${threads} threads` });
  ways.push({ provider: "wasm", threads: 1, label: "CPU (WASM), 1 thread" });
  return ways;
}

/** @returns {string} why WASM has one thread here; empty if it has several */
export function whyOneThread() {
  if (globalThis.crossOriginIsolated) return "";
  if (typeof SharedArrayBuffer === "undefined" && !("crossOriginIsolated" in globalThis)) {
    return "This browser has no WASM threads: the network runs on one, slower.";
  }
  return (
    "WASM threads are off, so the network runs on one, slower: this page was not served with " +
    "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp."
  );
}

/** One worker, and the drawing that waits for it. */
export class Engine {
  #worker = null;
  #busy = false;
  #waiting = null;
  #on;

  /**
   * @param {{progress: Function, loaded: Function, result: Function, failed: Function}} on what the worker's messages do
   */
  constructor(on) {
    this.#on = on;
  }

  /** Start over with a model: the number of threads is fixed when the runtime starts. */
  load(url, { provider, threads }) {
    this.close();
    const worker = new Worker(new URL("./worker.mjs", import.meta.url), { type: "module" });
    this.#worker = worker;
    this.#busy = true;
    worker.onmessage = ({ data }) => {
      if (worker === this.#worker) this.#take(data); // and not the last word of one that was ended
    };
    worker.onerror = (event) => {
      event.preventDefault();
      const message = event.message || "The worker cannot be started";
      this.#take({ type: "failed", during: "load", message, remedy: "reload the page" });
    };
    worker.postMessage({ type: "load", url: new URL(url, document.baseURI).href, provider, threads });
  }

  /** Color a drawing as soon as the last one is done; of those that wait, the newest is left. */
  run(job) {
    this.#waiting = job;
    this.#next();
  }

  /** End the worker. */
  close() {
    this.#worker?.terminate();
    this.#worker = null;
    this.#busy = false;
    this.#waiting = null;
  }

  #take(data) {
    if (data.type !== "progress") this.#busy = false;
    if (data.type === "failed") this.close();
    this.#on[data.type](data);
    this.#next();
  }

  #next() {
    if (this.#worker === null || this.#busy || this.#waiting === null) return;
    const job = this.#waiting;
    this.#waiting = null;
    this.#busy = true;
    this.#worker.postMessage({ type: "run", ...job });
  }
}
