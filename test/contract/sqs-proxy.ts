/**
 * A proxy in front of ElasticMQ, for what it does not do: fail one entry of a batch, throttle, deny, and say how large
 * a message may be; or TLS.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";

type Fields = Readonly<Record<string, unknown>>;

export type SqsEntry = {
  readonly Id: string;
  readonly MessageBody: string;
  readonly MessageGroupId: string;
  readonly MessageDeduplicationId: string;
};

export type SqsFailure = { readonly Code: string; readonly SenderFault: boolean; readonly Message?: string };

export type SqsProxy = AsyncDisposable & {
  readonly url: string;
  /** Every entry that came, in order, whether it was let through or not. */
  readonly sent: (readonly SqsEntry[])[];
  /** Of one entry of a batch, which does not reach the queue. */
  failEntry: ((entry: SqsEntry) => SqsFailure | undefined) | undefined;
  /** Of a whole request, as `[status, error code]`. */
  failRequest: ((action: string) => readonly [number, string] | undefined) | undefined;
  /** Told of every request that was let through, before it is answered. */
  onAnswered: ((action: string, fields: Fields, output: Fields) => void) | undefined;
  /** Shown in place of the queue's own. */
  attributes: Readonly<Record<string, string>>;
};

const readBody = async (request: IncomingMessage): Promise<string> => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
};

const answer = (response: ServerResponse, status: number, body: unknown, code?: string): void => {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/x-amz-json-1.0",
    ...(code === undefined ? {} : { "x-amzn-errortype": code }),
  });
  response.end(text);
};

/** @param tls PEM of its certificate. */
export const startSqsProxy = async (
  target: string,
  tls?: { readonly cert: Buffer; readonly key: Buffer },
): Promise<SqsProxy> => {
  const sent: (readonly SqsEntry[])[] = [];

  const forward = async (action: string, fields: Fields): Promise<readonly [number, Fields]> => {
    const answered = await fetch(target, {
      method: "POST",
      headers: { "content-type": "application/x-amz-json-1.0", "x-amz-target": `AmazonSQS.${action}` },
      body: JSON.stringify(fields),
    });
    return [answered.status, (await answered.json()) as Fields];
  };

  const sendBatch = async (fields: Fields): Promise<readonly [number, Fields]> => {
    const entries = fields["Entries"] as readonly SqsEntry[];
    sent.push(entries);
    const failed = entries.flatMap((entry) => {
      const failure = proxy.failEntry?.(entry);
      return failure === undefined ? [] : [{ Id: entry.Id, ...failure }];
    });
    const rest = entries.filter(({ Id }) => !failed.some((one) => one.Id === Id));
    const [status, output] =
      rest.length === 0
        ? ([200, { Successful: [] }] as const)
        : await forward("SendMessageBatch", { ...fields, Entries: rest });
    return [status, failed.length === 0 ? output : { ...output, Failed: failed }];
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const action = String(request.headers["x-amz-target"]).replace("AmazonSQS.", "");
    const fields = JSON.parse(await readBody(request)) as Fields;
    const failure = proxy.failRequest?.(action);
    if (failure !== undefined) {
      const [status, code] = failure;
      return answer(response, status, { __type: `com.amazonaws.sqs#${code}`, message: code }, code);
    }
    const [status, output] =
      action === "SendMessageBatch" ? await sendBatch(fields) : await forward(action, fields);
    proxy.onAnswered?.(action, fields, output);
    const isAttributes = action === "GetQueueAttributes" && status === 200;
    const shown = isAttributes
      ? { Attributes: { ...(output["Attributes"] as Fields), ...proxy.attributes } }
      : output;
    answer(response, status, shown);
  };

  const answerAll = (request: IncomingMessage, response: ServerResponse): void => {
    handle(request, response).catch(() => response.destroy());
  };
  const server = tls === undefined ? createServer(answerAll) : createTlsServer(tls, answerAll);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const proxy: SqsProxy = {
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sent,
    failEntry: undefined,
    failRequest: undefined,
    onAnswered: undefined,
    attributes: {},
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return proxy;
};
