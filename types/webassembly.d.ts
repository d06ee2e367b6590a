/**
 * The part of the WebAssembly JavaScript API that runs modules, declared here because the language library holds it only
 * together with a browser's whole document model. Not read by tsconfig.pure.json.
 */
declare namespace WebAssembly {
  type ExternalKind = "function" | "global" | "memory" | "table" | "tag";
  type ImportDescriptor = { readonly module: string; readonly name: string; readonly kind: ExternalKind };
  type ExportDescriptor = { readonly name: string; readonly kind: ExternalKind };
  type Imports = Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  type Source = Uint8Array<ArrayBuffer> | ArrayBuffer;

  class Module {
    constructor(bytes: Source);
    static imports(module: Module): readonly ImportDescriptor[];
    static exports(module: Module): readonly ExportDescriptor[];
    static customSections(module: Module, name: string): readonly ArrayBuffer[];
  }

  class Instance {
    constructor(module: Module, imports?: Imports);
    readonly exports: Readonly<Record<string, unknown>>;
  }

  class Memory {
    constructor(limits: { readonly initial: number; readonly maximum?: number });
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }

  class Table {
    readonly length: number;
  }

  class Global {
    value: unknown;
  }

  /** Bytes that are no module. */
  class CompileError extends Error {}
  /** Imports that do not fit. */
  class LinkError extends Error {}
  /** A trap. */
  class RuntimeError extends Error {}

  const compile: (bytes: Source) => Promise<Module>;
  const instantiate: (module: Module, imports?: Imports) => Promise<Instance>;
  const validate: (bytes: Source) => boolean;
}
