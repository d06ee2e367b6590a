/** The error that a call fails with, for tests. */
import { SigilFault } from "../../../src/errors.ts";

/** @throws when the call does not fail, or fails with anything but a SigilFault. */
export const expectFault = async (work: () => unknown): Promise<SigilFault> => {
  try {
    await work();
  } catch (error) {
    if (error instanceof SigilFault) return error;
    throw error;
  }
  throw new Error("expected a SigilFault");
};
