/**
 * Both sides of ext_authz without Envoy: a caller that asks as Envoy does, and an authorizer that answers as nobody
 * should.
 */
import {
  credentials,
  Server,
  ServerCredentials,
  type MethodDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import { AttributeContext } from "../../generated/src/envoy/service/auth/v3/attribute_context.ts";
import {
  AuthorizationClient,
  AuthorizationService,
  type CheckRequest,
  type CheckResponse,
} from "../../generated/src/envoy/service/auth/v3/external_auth.ts";

export type RequestGiven = {
  readonly principal: string;
  readonly path: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
};

/** What Envoy sends about such a request. */
export const attributesOf = ({
  principal,
  path,
  method = "GET",
  headers = {},
}: RequestGiven): AttributeContext =>
  AttributeContext.fromPartial({ source: { principal }, request: { http: { method, path, headers } } });

type Pem = { readonly ca: Buffer; readonly cert?: Buffer; readonly key?: Buffer };

export type Asking = Disposable & {
  /** @throws what the call ended with. */
  readonly ask: (attributes: AttributeContext | undefined, deadlineMs?: number) => Promise<CheckResponse>;
};

const deadlineMsDefault = 60_000;

/** @param pem without a certificate, nobody in particular asks. */
export const askingAt = (target: string, { ca, cert, key }: Partial<Pem> & Pick<Pem, "ca">): Asking => {
  const client = new AuthorizationClient(target, credentials.createSsl(ca, key ?? null, cert ?? null));
  const ask = (
    attributes: AttributeContext | undefined,
    deadlineMs = deadlineMsDefault,
  ): Promise<CheckResponse> =>
    new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + deadlineMs };
      client.makeUnaryRequest(
        AuthorizationService.check.path,
        AuthorizationService.check.requestSerialize,
        AuthorizationService.check.responseDeserialize,
        { attributes },
        options,
        (error: ServiceError | null, response?: CheckResponse) => {
          if (error !== null || response === undefined) reject(error ?? new Error("no answer"));
          else resolve(response);
        },
      );
    });
  return { ask, [Symbol.dispose]: () => client.close() };
};

export type Authorizer = AsyncDisposable & {
  readonly port: number;
  /** How many questions it was asked. */
  readonly asked: () => number;
  /** What it answers from now on: bytes for a message; null for nothing at all. */
  readonly answerWith: (bytes: Buffer | null) => void;
};

export const startAuthorizer = async ({ ca, cert, key }: Required<Pem>): Promise<Authorizer> => {
  let [answer, asked]: [Buffer | null, number] = [null, 0];
  const { path, requestDeserialize } = AuthorizationService.check;
  const check: MethodDefinition<CheckRequest, Buffer> = {
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: AuthorizationService.check.requestSerialize,
    requestDeserialize,
    responseSerialize: (bytes) => bytes,
    responseDeserialize: (bytes) => bytes,
  };
  const server = new Server();
  server.addService(
    { check },
    {
      check: (_call: unknown, callback: (error: null, bytes: Buffer) => void) => {
        asked += 1;
        if (answer !== null) callback(null, answer);
      },
    },
  );
  const tls = ServerCredentials.createSsl(ca, [{ cert_chain: cert, private_key: key }], true);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", tls, (error, bound) => (error === null ? resolve(bound) : reject(error))),
  );
  return {
    port,
    asked: () => asked,
    answerWith: (bytes) => {
      answer = bytes;
    },
    [Symbol.asyncDispose]: async () => server.forceShutdown(),
  };
};
