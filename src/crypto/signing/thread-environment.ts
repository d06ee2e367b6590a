/** The environment of worker threads. */

/** Only Node's compile cache, if set: from sources it saves half of a thread's start time. */
export const threadEnvironment = (): NodeJS.Dict<string> => {
  const { NODE_COMPILE_CACHE } = process.env;
  return NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE };
};
