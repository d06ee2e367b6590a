/** Reading where damage is an expected outcome. */
import { SigilFault } from "../../errors.ts";

/** Returns undefined if the record is damaged: any `SigilFault` about the record counts. */
export const unlessDamaged = async <T>(read: () => Promise<T>): Promise<T | undefined> => {
  try {
    return await read();
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind !== "storeFailed") return undefined;
    throw error;
  }
};
