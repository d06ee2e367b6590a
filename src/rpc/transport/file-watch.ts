/**
 * Notifies when files may have changed: by file system events on their directories, and by slow polling, since events
 * miss targets of symlinks elsewhere and changes on network file systems. The listener compares contents itself.
 */
import { watch, type FSWatcher } from "node:fs";
import { dirname } from "node:path";

/** Debounce: several files are replaced in sequence. */
const settleMs = 500;
const lookMsDefault = 60_000;

export type FileWatchOptions = {
  readonly paths: readonly string[];
  readonly onChange: () => void;
  /** Called if the system cannot watch; polling continues. */
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

/** Watches directories instead of files: Kubernetes swaps a symlink beside the files, editors replace them. */
export const watchFiles = ({
  paths,
  onChange,
  onFault,
  lookMs = lookMsDefault,
}: FileWatchOptions): Disposable => {
  let settling: NodeJS.Timeout | undefined;
  // The debounce starts at the first event and is not extended, so that a busy directory cannot delay it forever.
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
