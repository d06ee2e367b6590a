/**
 * What a log may be told to leave out, the least important first. In a file of its own: the configuration needs no
 * logger.
 */
export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];
