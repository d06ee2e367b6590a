/** What a thread of this process sees of the environment. */

/** Nothing but where Node keeps compiled code, if it does: it is half of what a thread's start costs from sources. */
export const threadEnvironment = (): NodeJS.Dict<string> => {
  const { NODE_COMPILE_CACHE } = process.env;
  return NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE };
};
