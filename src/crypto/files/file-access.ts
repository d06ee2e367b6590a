/**
 * Who may get at a private file: the one rule, by mode and owners. Its owner always; a group when the process is in it
 * and the owner is the process's user or root, as Kubernetes hands volumes (fsGroup) and Secrets to a pod; others
 * never.
 */

/** What `stat` says of a file or directory. */
export type Stats = { readonly mode: number; readonly uid: number; readonly gid: number };

export type Holder = { readonly uid: number; readonly gids: readonly number[] };

export type Access =
  | { readonly kind: "owner" }
  | { readonly kind: "group"; readonly gid: number }
  | { readonly kind: "others" };

const beyondOwner = 0o077;
const beyondGroup = 0o007;
const groupWrites = 0o020;
const othersWrite = 0o002;
const sticky = 0o1000;
const root = 0;

/** Whether it belongs to whom the process trusts anyway. */
export const isOwn = ({ uid }: Pick<Stats, "uid">, holder: Holder): boolean =>
  uid === holder.uid || uid === root;

/**
 * Whether somebody else may put another file in the place of one in this directory. With the sticky bit only a file's
 * own owner may.
 */
export const isSwappable = ({ mode, gid }: Stats, holder: Holder): boolean => {
  if ((mode & sticky) !== 0) return false;
  const byGroup = (mode & groupWrites) !== 0 && !holder.gids.includes(gid);
  return byGroup || (mode & othersWrite) !== 0;
};

export const accessOf = ({ mode, uid, gid }: Stats, holder: Holder): Access => {
  if ((mode & beyondOwner) === 0) return { kind: "owner" };
  const isShared = isOwn({ uid }, holder) && holder.gids.includes(gid) && (mode & beyondGroup) === 0;
  return isShared ? { kind: "group", gid } : { kind: "others" };
};

/** The process itself. Where a system has no such ids, nobody: then a file is its owner's alone. */
export const ownHolder = (): Holder => {
  const group = process.getegid?.();
  return {
    uid: process.geteuid?.() ?? -1,
    gids: [...(process.getgroups?.() ?? []), ...(group === undefined ? [] : [group])],
  };
};

/** What was accepted though not the owner's alone; to be said by whoever starts. */
export type SharedAccess = {
  readonly path: string;
  readonly gid: number;
  /** Files and directories at and below `path`. */
  readonly entries: number;
};

export type OnShared = (shared: SharedAccess) => void;

export const describeShared = ({ path, gid, entries }: SharedAccess): string =>
  `${path}${entries > 1 ? `: ${entries} files and directories are` : " is"} open to group ${gid}, which this process is in`;
