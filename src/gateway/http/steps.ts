/**
 * Calls of registered handlers that one request over HTTP makes one after the other, each with its own end; the
 * response is sent after the last. Whoever leaves ends the one that is under way, and no other is begun.
 */
import { status as Code, type ServiceError } from "@grpc/grpc-js";
import { SigilFault } from "../../errors.ts";
import { HttpCall, HttpLine, type HttpCallOptions, type HttpRequest, type HttpResponse } from "./call.ts";
import { CallFailed } from "./problem.ts";
import type { Unary } from "./serving.ts";

/** One call, which ends before its response does when another follows. */
class Step extends HttpCall<unknown> {
  #ended: () => void = () => {};

  override once(_event: "cancelled", listener: () => void): this {
    this.#ended = listener;
    return this;
  }

  end(): void {
    this.#ended();
  }
}

export type StepRequest = {
  /** Made when its caller's turn comes; what it throws is the call's end. */
  readonly bytes: () => Uint8Array;
  readonly itemMetadata: NonNullable<HttpCallOptions["itemMetadata"]>;
};

type Shared = Pick<HttpCallOptions, "metadata" | "deadlineMs">;

export class Steps {
  readonly #request: HttpRequest;
  readonly #response: HttpResponse;
  readonly #shared: Shared;
  #step: Step | undefined;
  #leave: () => void = () => {};

  constructor(request: HttpRequest, response: HttpResponse, shared: Shared) {
    this.#request = request;
    this.#response = response;
    this.#shared = shared;
    // Also when all has been answered: room for a long reply is kept until it has left.
    response.once("close", () => {
      this.#step?.end();
      this.#leave();
    });
  }

  /** @returns the reply's bytes. @throws CallFailed; cancelled when nobody waits for it any more. */
  call({ handler, carried }: Unary, { bytes, itemMetadata }: StepRequest): Promise<Uint8Array> {
    this.#step?.end();
    const line = new HttpLine(this.#request, this.#response);
    const message = carried.request(bytes);
    const step = new Step(this.#request, this.#response, { ...this.#shared, line, message, itemMetadata });
    this.#step = step;
    return new Promise((resolve, reject) => {
      this.#leave = () => reject(new SigilFault({ kind: "cancelled" }));
      if (line.isAnswered) return this.#leave();
      handler(step, (error, reply) => {
        if (error !== null) {
          reject(new CallFailed(error as ServiceError));
          return;
        }
        try {
          resolve(carried.responseBytes(reply));
        } catch (cause) {
          line.sentCode = Code.INTERNAL;
          reject(cause);
        }
      });
    });
  }
}
