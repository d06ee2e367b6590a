/**
 * Loaded into the server under attack before it starts: collects garbage and tells its memory when the campaign asks.
 */
process.on("message", () => {
  globalThis.gc?.();
  globalThis.gc?.();
  process.send?.(process.memoryUsage());
});
// The campaign's channel alone is no reason to live.
process.channel?.unref();
