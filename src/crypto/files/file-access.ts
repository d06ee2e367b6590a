/**
 * Access rule for private files, by mode and owner: the owner always; a group if the process is in it and the owner is
 * the process's user or root, as for Kubernetes volumes (fsGroup) and Secrets; others never.
 */

/** The fields of `stat` used here. */
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

/** Whether the owner is one that the process trusts: its own user or root. */
export const isOwn = ({ uid }: Pick<Stats, "uid">, holder: Holder): boolean =>
  uid === holder.uid || uid === root;

/** Whether other users may replace a file in this directory. With the sticky bit only a file's owner may. */
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

/** The process's ids. On systems without ids, none: then a file is accessible to its owner only. */
export const ownHolder = (): Holder => {
  const group = process.getegid?.();
  return {
    uid: process.geteuid?.() ?? -1,
    gids: [...(process.getgroups?.() ?? []), ...(group === undefined ? [] : [group])],
  };
};

/** Access that was accepted though not the owner's alone, for a startup warning. */
export type SharedAccess = {
  readonly path: string;
  readonly gid: number;
  /** Number of files and directories at and below `path`. */
  readonly entries: number;
};

export type OnShared = (shared: SharedAccess) => void;

export const describeShared = ({ path, gid, entries }: SharedAccess): string =>
  `${path}${entries > 1 ? `: ${entries} files and directories are` : " is"} open to group ${gid}, which this process is in`;
