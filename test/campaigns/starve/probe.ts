/** Preloaded into the server under attack: collects garbage and reports memory on request. */
process.on("message", () => {
  globalThis.gc?.();
  globalThis.gc?.();
  process.send?.(process.memoryUsage());
});
// The campaign's channel does not keep the process alive.
process.channel?.unref();
