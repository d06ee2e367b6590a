/** Catching the fault that a call should throw. */
import { expect } from "chai";
import { SigilFault, type SigilError } from "../../../src/errors.ts";

/** The error that `act` throws; the test fails when it returns or throws something else. */
export const errorOf = (act: () => unknown): SigilError => {
  try {
    act();
  } catch (cause) {
    if (cause instanceof SigilFault) return cause.error;
    throw cause;
  }
  return expect.fail("expected a refusal, but it was accepted");
};
