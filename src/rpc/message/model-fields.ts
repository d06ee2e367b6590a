/** What a request calls the model that breaks a rule: models name their fields from themselves on. */
import { fail, SigilFault } from "../../errors.ts";

/** @throws whatever `run` throws; of malformedModel, the field after `name`. */
export const nameModel = async <Result>(name: string, run: () => Promise<Result>): Promise<Result> => {
  try {
    return await run();
  } catch (cause) {
    if (!(cause instanceof SigilFault) || cause.error.kind !== "malformedModel") throw cause;
    return fail({ ...cause.error, field: `${name}.${cause.error.field}` }, { cause });
  }
};
