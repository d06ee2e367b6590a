/** What a guard throws: there is no allow, because the answer is another one or because there is none. */
import { status as Code } from "@grpc/grpc-js";
import { SigilError } from "../error.ts";
import type { Decision } from "./decision.ts";

export class DeniedError extends SigilError {
  /** The answer that is no allow; undefined where an error stands in place of one, which is then the `cause`. */
  readonly decision: Decision | undefined;

  private constructor(decision: Decision | undefined, ...given: ConstructorParameters<typeof SigilError>) {
    super(...given);
    this.name = "DeniedError";
    this.decision = decision;
  }

  /** PERMISSION_DENIED, with the decision's reason. */
  static by(decision: Decision): DeniedError {
    const { reason, auditId } = decision;
    const message = reason === "" ? "the answer is no allow" : `the answer is no allow: ${reason}`;
    return new DeniedError(decision, Code.PERMISSION_DENIED, message, {
      reason,
      facts: { audit_id: auditId },
    });
  }

  /** With code, reason and delay of whatever failed: a failure on the way to an answer is a deny. */
  static because(thrown: unknown): DeniedError {
    if (thrown instanceof DeniedError) return thrown;
    const error = SigilError.from(thrown);
    const message = `no answer, which is a deny: ${error.message.replace(`${error.codeName}: `, "")}`;
    return new DeniedError(undefined, error.code, message, error, { cause: thrown });
  }
}
