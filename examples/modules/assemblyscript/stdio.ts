/**
 * Standard input, output and error of a WASI preview 1 command, for modules in AssemblyScript.
 * Memory is one tape: what comes in, what is worked out and what goes out are put one behind the other at `tail`, and
 * nothing is ever freed, because the module ends with the run. So there is no garbage collector to ship. When a page is
 * full the memory grows by another, up to what the host allows.
 */

@external("wasi_snapshot_preview1", "fd_read")
declare function fd_read(fd: u32, vectors: usize, vectorCount: u32, readBytes: usize): u32;

@external("wasi_snapshot_preview1", "fd_write")
declare function fd_write(fd: u32, vectors: usize, vectorCount: u32, writtenBytes: usize): u32;

@external("wasi_snapshot_preview1", "proc_exit")
declare function proc_exit(code: u32): void;

const pageBytes: usize = 65536;

/** One vector (address, length) and, behind it, the count that WASI gives back. */
const vector: usize = memory.data(12, 4);
const counted: usize = vector + 8;

/** Where the next byte goes. Not set here: a constant only the linker knows would need a start function. */
export let tail: usize = 0;

function memoryEnd(): usize {
  return (<usize>memory.size()) * pageBytes;
}

export function put(byte: u8): void {
  growWhenFull();
  store<u8>(tail, byte);
  tail += 1;
}

/** @param text ASCII, as literals in a program are: one byte a character. */
export function putText(text: string): void {
  for (let i = 0; i < text.length; i++) put(<u8>text.charCodeAt(i));
}

export function putNumber(value: u32): void {
  if (value > 9) putNumber(value / 10);
  put(<u8>(48 + (value % 10)));
}

function growWhenFull(): void {
  if (tail == memoryEnd() && memory.grow(1) < 0) fail("the input does not fit into the memory of the module");
}

/** Begins the tape with all of standard input. @returns where that begins; it ends at `tail`. */
export function readInput(): usize {
  tail = __heap_base;
  let got: usize = 0;
  do {
    growWhenFull();
    store<usize>(vector, tail);
    store<usize>(vector, memoryEnd() - tail, 4);
    if (fd_read(0, vector, 1, counted) != 0) fail("standard input cannot be read");
    got = load<usize>(counted);
    tail += got;
  } while (got != 0);
  return __heap_base;
}

/** Writes the tape from `start` to its end; a host may take it in several pieces. */
export function write(fd: u32, start: usize): void {
  while (start < tail) {
    store<usize>(vector, start);
    store<usize>(vector, tail - start, 4);
    if (fd_write(fd, vector, 1, counted) != 0) proc_exit(1);
    start += load<usize>(counted);
  }
}

/** One line on standard error and exit code 1. The tape starts anew: a full memory has room for the line. */
export function fail(message: string): void {
  tail = __heap_base;
  putText(message);
  put(10);
  write(2, __heap_base);
  proc_exit(1);
  unreachable();
}
