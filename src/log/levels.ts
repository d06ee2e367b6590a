/** Log levels, least important first. In a separate file, so that the configuration does not load the logger. */
export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];
