/**
 * The functions of WASI preview 1 and their types, all that a module may import from `wasi_snapshot_preview1`. Pure.
 * Those for file systems, networks and processes can be imported but return errors.
 */
import type { OfferedFunction } from "./host-functions.ts";

const i = "i32";
const l = "i64";
const errno = (...params: readonly string[]): OfferedFunction => ({
  type: `(${params.join(", ")}) -> (i32)`,
});

export const preview1: Readonly<Record<string, OfferedFunction>> = {
  args_get: errno(i, i),
  args_sizes_get: errno(i, i),
  clock_res_get: errno(i, i),
  clock_time_get: errno(i, l, i),
  environ_get: errno(i, i),
  environ_sizes_get: errno(i, i),
  fd_advise: errno(i, l, l, i),
  fd_allocate: errno(i, l, l),
  fd_close: errno(i),
  fd_datasync: errno(i),
  fd_fdstat_get: errno(i, i),
  fd_fdstat_set_flags: errno(i, i),
  fd_fdstat_set_rights: errno(i, l, l),
  fd_filestat_get: errno(i, i),
  fd_filestat_set_size: errno(i, l),
  fd_filestat_set_times: errno(i, l, l, i),
  fd_pread: errno(i, i, i, l, i),
  fd_prestat_dir_name: errno(i, i, i),
  fd_prestat_get: errno(i, i),
  fd_pwrite: errno(i, i, i, l, i),
  fd_read: errno(i, i, i, i),
  fd_readdir: errno(i, i, i, l, i),
  fd_renumber: errno(i, i),
  fd_seek: errno(i, l, i, i),
  fd_sync: errno(i),
  fd_tell: errno(i, i),
  fd_write: errno(i, i, i, i),
  path_create_directory: errno(i, i, i),
  path_filestat_get: errno(i, i, i, i, i),
  path_filestat_set_times: errno(i, i, i, i, l, l, i),
  path_link: errno(i, i, i, i, i, i, i),
  path_open: errno(i, i, i, i, i, l, l, i, i),
  path_readlink: errno(i, i, i, i, i, i),
  path_remove_directory: errno(i, i, i),
  path_rename: errno(i, i, i, i, i, i),
  path_symlink: errno(i, i, i, i, i),
  path_unlink_file: errno(i, i, i),
  poll_oneoff: errno(i, i, i, i),
  proc_exit: { type: "(i32) -> ()" },
  proc_raise: errno(i),
  random_get: errno(i, i),
  sched_yield: errno(),
  sock_accept: errno(i, i, i),
  sock_recv: errno(i, i, i, i, i, i),
  sock_send: errno(i, i, i, i, i),
  sock_shutdown: errno(i, i),
};
