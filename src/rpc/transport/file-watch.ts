/**
 * Says when files may have changed: the system's notices about their directories, and a slow look at them all, since
 * notices miss what lies behind a symlink elsewhere and what a network changes. Whoever hears compares for himself.
 */
import { watch, type FSWatcher } from "node:fs";
import { dirname } from "node:path";

/** Several files are replaced one after the other: one look at the end of it. */
const settleMs = 500;
const lookMsDefault = 60_000;

export type FileWatchOptions = {
  readonly paths: readonly string[];
  readonly onChange: () => void;
  /** The system cannot watch; the slow look goes on. */
  readonly onFault: (cause: unknown) => void;
  readonly lookMs?: number;
};

const watchDirectory = (
  directory: string,
  { onChange, onFault }: Pick<FileWatchOptions, "onChange" | "onFault">,
): FSWatcher | null => {
  try {
    const watcher = watch(directory, { persistent: false }, () => onChange());
    return watcher.on("error", (cause) => (watcher.close(), onFault(cause)));
  } catch (cause) {
    onFault(cause);
    return null;
  }
};

/** A directory and not a file is watched: Kubernetes swaps a symlink beside the files, editors replace them. */
export const watchFiles = ({
  paths,
  onChange,
  onFault,
  lookMs = lookMsDefault,
}: FileWatchOptions): Disposable => {
  let settling: NodeJS.Timeout | undefined;
  // From the first notice on, and not the last: a busy directory must not put it off for ever.
  const settle = (): void => {
    settling ??= setTimeout(() => {
      settling = undefined;
      onChange();
    }, settleMs).unref();
  };
  const directories = new Set(paths.map((path) => dirname(path)));
  const watchers = [...directories].map((one) => watchDirectory(one, { onChange: settle, onFault }));
  const looking = setInterval(onChange, lookMs).unref();
  return {
    [Symbol.dispose]: () => {
      clearTimeout(settling);
      clearInterval(looking);
      for (const watcher of watchers) watcher?.close();
    },
  };
};
