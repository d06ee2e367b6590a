/**
 * Ctrl-C for commands that go on until somebody ends them: the first one ends the work, a second one the process, as
 * ever.
 */
export const interruption = (): Disposable & { readonly signal: AbortSignal } => {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  process.once("SIGINT", abort).once("SIGTERM", abort);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => void process.off("SIGINT", abort).off("SIGTERM", abort),
  };
};
