/** Pieces of modules in text form that many tests put together. */

const signature = (params: string, results = "i32"): string =>
  `(func (param ${params})${results === "" ? "" : ` (result ${results})`})`;

/** Imports by the names that the bodies below use. */
const IMPORTS: Readonly<Record<string, string>> = {
  fd_write: signature("i32 i32 i32 i32"),
  fd_read: signature("i32 i32 i32 i32"),
  proc_exit: signature("i32", ""),
  clock_time_get: signature("i32 i64 i32"),
  clock_res_get: signature("i32 i32"),
  random_get: signature("i32 i32"),
  args_get: signature("i32 i32"),
  args_sizes_get: signature("i32 i32"),
  environ_get: signature("i32 i32"),
  environ_sizes_get: signature("i32 i32"),
  poll_oneoff: signature("i32 i32 i32 i32"),
};

const importLine = (name: string): string => {
  const type = IMPORTS[name];
  if (type === undefined) throw new Error(`no import ${name} is known here`);
  return `(import "wasi_snapshot_preview1" "${name}" ${type.replace("(func", `(func $${name}`)})`;
};

export type GuestText = {
  readonly imports?: readonly string[];
  /** Other imports, in full. */
  readonly extra?: string;
  readonly pages?: number | string;
  /** Functions, data, globals. */
  readonly inside?: string;
  /** The body of `_start`. */
  readonly body: string;
};

/**
 * A command module. `$say` writes bytes `ptr len` to standard output, `$log` to standard error; memory below 64 is
 * theirs.
 */
export const guest = ({
  imports = [],
  extra = "",
  pages = 1,
  inside = "",
  body,
}: GuestText): string => `(module
  ${[...new Set(["fd_write", ...imports])].map(importLine).join("\n  ")}
  ${extra}
  (memory (export "memory") ${pages})
  (func $write (param $fd i32) (param $at i32) (param $bytes i32)
    (i32.store (i32.const 16) (local.get $at))
    (i32.store (i32.const 20) (local.get $bytes))
    (drop (call $fd_write (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 24))))
  (func $say (param $at i32) (param $bytes i32) (call $write (i32.const 1) (local.get $at) (local.get $bytes)))
  (func $log (param $at i32) (param $bytes i32) (call $write (i32.const 2) (local.get $at) (local.get $bytes)))
  (func $sayNumber (param $number i32)
    (i32.store (i32.const 32) (local.get $number))
    (call $say (i32.const 32) (i32.const 4)))
  ${inside}
  (func (export "_start") ${body}))`;

/** Numbers that a module wrote with `$sayNumber`. */
export const numbersOf = (output: Uint8Array): readonly number[] => {
  const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
  return Array.from({ length: Math.floor(output.length / 4) }, (_, index) => view.getInt32(4 * index, true));
};
