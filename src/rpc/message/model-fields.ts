/** Prefixes field names in model errors with the request field: models name fields relative to themselves. */
import { fail, SigilFault } from "../../errors.ts";

/** @throws what `run` throws; a malformedModel's field is prefixed with `name`. */
export const nameModel = async <Result>(name: string, run: () => Promise<Result>): Promise<Result> => {
  try {
    return await run();
  } catch (cause) {
    if (!(cause instanceof SigilFault) || cause.error.kind !== "malformedModel") throw cause;
    return fail({ ...cause.error, field: `${name}.${cause.error.field}` }, { cause });
  }
};
