/** Static inspection of a module's bytes, for approvers and for `checkModule`. Pure. */
import { fail } from "../../errors.ts";
import { moduleBytesMax } from "../../limits.ts";
import { proposedCode, type CodeBounds } from "../wasm/bounds.ts";
import { chargeOf, pageBytes } from "../wasm/meter.ts";
import {
  parseWasm,
  type ExternKind,
  type Limits,
  type TableType,
  type WasmModule,
} from "../wasm/sections.ts";

export type ModuleImport = {
  readonly module: string;
  readonly name: string;
  readonly kind: ExternKind;
  /** Functions as `(i32, i64) -> (i32)`, memories as `1..16 pages`. */
  readonly type: string;
};
export type ModuleExport = { readonly name: string; readonly kind: ExternKind; readonly type: string };

export type Inspection = {
  readonly bytes: number;
  readonly imports: readonly ModuleImport[];
  readonly exports: readonly ModuleExport[];
  /** In pages of 64 KiB; `max` is null if the module declares none. */
  readonly memories: readonly Limits[];
  readonly tables: readonly TableType[];
  readonly functions: number;
  readonly dataBytes: number;
  /** True if code runs before `_start`. */
  readonly hasStart: boolean;
  /** Initial size of all memories and tables in pages, rounded up: the minimum `memory_pages`. */
  readonly startPages: number;
  /** True if it can grow memories or tables. */
  readonly grows: boolean;
  /** Capabilities that the manifest must grant. `canon.read` is granted with a prefix. */
  readonly needs: readonly ("canon.read" | "trust.check")[];
  /** Imports that have a deterministic replacement without the capability. */
  readonly uses: readonly ("clock" | "random")[];
};

const imports = (module: WasmModule, from: string, names: readonly string[]): boolean =>
  module.imports.some((each) => each.module === from && names.includes(each.name));

const needsOf = (module: WasmModule): Inspection["needs"] =>
  (["canon.read", "trust.check"] as const).filter((capability) =>
    imports(module, "sigil_v1", [capability.replace(".", "_")]),
  );

const usesOf = (module: WasmModule): Inspection["uses"] => {
  const wasi = "wasi_snapshot_preview1";
  const clock = imports(module, wasi, ["clock_time_get", "clock_res_get", "poll_oneoff"]);
  const random = imports(module, wasi, ["random_get"]);
  return [...(clock ? (["clock"] as const) : []), ...(random ? (["random"] as const) : [])];
};

/** @throws malformedModule naming the offset and the rule; tooLarge. */
export const inspectModule = (bytes: Uint8Array, bounds: CodeBounds = proposedCode): Inspection => {
  if (bytes.length > moduleBytesMax) {
    fail({ kind: "tooLarge", what: "module", bytes: bytes.length, limit: moduleBytesMax });
  }
  const wasm = parseWasm(bytes, bounds);
  return {
    bytes: bytes.length,
    imports: wasm.imports,
    exports: wasm.exports,
    memories: wasm.memories,
    tables: wasm.tables,
    functions: wasm.functions.length,
    dataBytes: wasm.dataBytes,
    hasStart: wasm.start !== null,
    startPages: Math.ceil(chargeOf(wasm) / pageBytes),
    grows: wasm.growth.length > 0,
    needs: needsOf(wasm),
    uses: usesOf(wasm),
  };
};
