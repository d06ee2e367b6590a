/**
 * Coloured log lines for terminals. Loaded only if needed, since its library is a tenth of the code loaded at start.
 */
import { Writable } from "node:stream";
import type { DestinationStream } from "pino";
import pretty from "pino-pretty";

/** pino-pretty accepts only Node streams. */
const asWritable = (stream: DestinationStream): Writable =>
  new Writable({
    write: (part: Buffer, _encoding, done) => {
      stream.write(part.toString());
      done();
    },
  });

/** UTC, as in JSON lines and on the command line, regardless of the machine's time zone. */
const utcTime = "UTC:yyyy-mm-dd'T'HH:MM:ss.l'Z'";

/** Converts JSON lines to readable lines. */
export const forPeople = (stream: DestinationStream): DestinationStream =>
  pretty({
    colorize: true,
    ignore: "service,pid,hostname",
    translateTime: utcTime,
    destination: asWritable(stream),
  });
