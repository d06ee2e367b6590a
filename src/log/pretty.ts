/**
 * The log on a terminal: coloured lines for people. Loaded where there is one; its library is a tenth of what a start
 * loads.
 */
import { Writable } from "node:stream";
import type { DestinationStream } from "pino";
import pretty from "pino-pretty";

/** pino-pretty takes streams of Node alone. */
const asWritable = (stream: DestinationStream): Writable =>
  new Writable({
    write: (part: Buffer, _encoding, done) => {
      stream.write(part.toString());
      done();
    },
  });

/** As JSON lines and the command line print times, whatever the machine's zone. */
const utcTime = "UTC:yyyy-mm-dd'T'HH:MM:ss.l'Z'";

/** JSON lines in, lines for people out. */
export const forPeople = (stream: DestinationStream): DestinationStream =>
  pretty({
    colorize: true,
    ignore: "service,pid,hostname",
    translateTime: utcTime,
    destination: asWritable(stream),
  });
