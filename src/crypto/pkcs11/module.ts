/**
 * PKCS #11 libraries, each loaded and initialised once per process, since their state is per process. The package that
 * loads them is compiled at installation and optional: only tokens need it.
 */
import type { Attribute, Handle, PKCS11, TokenInfo } from "pkcs11js";
import { fail } from "../../errors.ts";

export type { Attribute, Handle, PKCS11, TokenInfo };

/** Constants of PKCS #11 3.0 and 2.40 used here, by their names in the specification's header. */
export const CK = {
  CKF_RW_SESSION: 0x2,
  CKF_SERIAL_SESSION: 0x4,
  CKF_OS_LOCKING_OK: 0x2,
  CKF_USER_PIN_COUNT_LOW: 0x10000,
  CKF_USER_PIN_FINAL_TRY: 0x20000,
  CKF_USER_PIN_LOCKED: 0x40000,
  CKU_USER: 1,
  CKS_RW_USER_FUNCTIONS: 3,
  CKO_PUBLIC_KEY: 2,
  CKO_PRIVATE_KEY: 3,
  CKO_SECRET_KEY: 4,
  CKA_CLASS: 0x0,
  CKA_TOKEN: 0x1,
  CKA_PRIVATE: 0x2,
  CKA_LABEL: 0x3,
  CKA_KEY_TYPE: 0x100,
  CKA_ID: 0x102,
  CKA_SENSITIVE: 0x103,
  CKA_ENCRYPT: 0x104,
  CKA_DECRYPT: 0x105,
  CKA_WRAP: 0x106,
  CKA_UNWRAP: 0x107,
  CKA_SIGN: 0x108,
  CKA_VERIFY: 0x10a,
  CKA_VALUE_LEN: 0x161,
  CKA_EXTRACTABLE: 0x162,
  CKA_EC_PARAMS: 0x180,
  CKA_EC_POINT: 0x181,
  CKK_AES: 0x1f,
  CKK_EC_EDWARDS: 0x40,
  CKM_AES_KEY_GEN: 0x1080,
  CKM_AES_GCM: 0x1087,
  CKM_EC_EDWARDS_KEY_PAIR_GEN: 0x1055,
  CKM_EDDSA: 0x1057,
} as const;

type Package = { readonly PKCS11: typeof PKCS11; readonly CK_PARAMS_AES_GCM_v240: number };

export type Module = {
  readonly library: PKCS11;
  /** False if other code in this process initialised it. */
  readonly isOurs: boolean;
  /** The package's constant for CK_GCM_PARAMS as of PKCS #11 2.40 and later. */
  readonly gcmParameterType: number;
};

const loadPackage = async (): Promise<Package> => {
  try {
    return (await import("pkcs11js")).default;
  } catch (cause) {
    const rule =
      "the package pkcs11js is missing. It is compiled when it is installed, which takes a C++ compiler, make, Python and " +
      "Node's headers: put them there and run npm install pkcs11js";
    return fail({ kind: "tokenUnavailable", token: "any", rule }, { cause });
  }
};

/** The name of the return code in an error, for example CKR_PIN_INCORRECT; "" for any other error. */
export const resultOf = (error: unknown): string =>
  error instanceof Error && /^CKR_[A-Z0-9_]+$/.test(error.message) ? error.message : "";

const initialise = async (path: string): Promise<Module> => {
  const refuse = (rule: string, cause: unknown): never =>
    fail({ kind: "tokenUnavailable", token: "any", rule: `the library ${path} ${rule}` }, { cause });
  const { PKCS11: Library, CK_PARAMS_AES_GCM_v240: gcmParameterType } = await loadPackage();
  const library = new Library();
  try {
    library.load(path);
  } catch (cause) {
    return refuse("cannot be loaded; is it there, and a PKCS #11 module?", cause);
  }
  try {
    // Calls come from the thread pool, so the library must do its own locking.
    library.C_Initialize({ flags: CK.CKF_OS_LOCKING_OK });
  } catch (cause) {
    const result = resultOf(cause);
    if (result === "CKR_CRYPTOKI_ALREADY_INITIALIZED") return { library, gcmParameterType, isOurs: false };
    return refuse(`cannot be initialised (${result || "no code"})`, cause);
  }
  return { library, gcmParameterType, isOurs: true };
};

const loaded = new Map<string, Promise<Module>>();

/** @param path absolute. @throws tokenUnavailable. */
export const loadModule = (path: string): Promise<Module> => {
  const known = loaded.get(path);
  if (known !== undefined) return known;
  const loading = initialise(path);
  loaded.set(path, loading);
  loading.catch(() => loaded.delete(path));
  return loading;
};

/** Ends every login and session of this process. Call it when no token is in use. */
export const finaliseModules = async (): Promise<void> => {
  const all = [...loaded.values()];
  loaded.clear();
  for (const { library, isOurs } of await Promise.all(all)) if (isOurs) library.C_Finalize();
};
