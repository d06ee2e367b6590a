/** What reading says where something may be damaged. */
import { SigilFault } from "../../errors.ts";

/** Whether reading again gives what is needed: any refusal of the record counts as unreadable. */
export const unlessDamaged = async <T>(read: () => Promise<T>): Promise<T | undefined> => {
  try {
    return await read();
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind !== "storeFailed") return undefined;
    throw error;
  }
};
