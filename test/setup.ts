/**
 * Loaded before the tests, in every process that runs some. Programs that tests start compile their sources once for all of
 * them: without this, half of a run goes into starting the same command line again.
 */
import { enableCompileCache } from "node:module";
import { resolve } from "node:path";

const cache = resolve(import.meta.dirname, "../build/compile-cache");
enableCompileCache(cache);
process.env["NODE_COMPILE_CACHE"] ??= cache;
