/** What a call that must not succeed was refused with. */
import { SigilError } from "@sigil/client";

/** @throws Error when the call was answered. */
export const refusalOf = async (call: Promise<unknown>): Promise<SigilError> => {
  try {
    await call;
  } catch (error) {
    if (error instanceof SigilError) return error;
    throw error;
  }
  throw new Error("the call was answered");
};

/** The name of the gRPC code a call ends with; "OK" when it was answered. */
export const codeOf = async (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "OK",
    (error: unknown) => SigilError.from(error).codeName,
  );
