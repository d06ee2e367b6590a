/** A promise with exposed resolvers. Node 20 has no `Promise.withResolvers`. */

export type Deferred<Value> = {
  readonly promise: Promise<Value>;
  readonly resolve: (value: Value) => void;
  readonly reject: (reason: unknown) => void;
};

export const deferred = <Value = void>(): Deferred<Value> => {
  let [resolve, reject]: [Deferred<Value>["resolve"], Deferred<Value>["reject"]] = [() => {}, () => {}];
  const promise = new Promise<Value>((settle, refuse) => {
    [resolve, reject] = [settle, refuse];
  });
  return { promise, resolve, reject };
};
