/**
 * The ring buffer shared by the event loop and the signing thread: messages go in, signatures come out in the same
 * order. Each side publishes a counter, and an idle side waits for the other's counter to change. At most `ringSlots`
 * messages and `ringBytes` bytes. Source: docs/design/0009-signing-thread.md.
 */

export const signatureBytes = 64;

/** A power of two, greater than the number of records signed ahead of the disk. */
export const ringSlots = 1024;
export const ringBytes = 1 << 20;

/** Longer messages are not signed through the ring. */
export const ringMessageBytesMax = 128 << 10;

/** While busy, the thread notifies once per this many signatures. */
const toldTogether = 16;

/** Bounds the sleep, since a thread told to stop while it starts can miss its wake-up. */
const sleepMsMax = 1000;

/** Control words. Message counters wrap at 32 bits; only their difference is meaningful. */
const signalWord = 0;
const putWord = 1;
const signedWord = 2;
const stopWord = 3;
const controlWords = 4;

/** Words of a slot: key number, offset of the message in the ring, its length. */
const slotWords = 3;

const slotsAt = controlWords * 4;
const signaturesAt = slotsAt + ringSlots * slotWords * 4;
const messagesAt = signaturesAt + ringSlots * signatureBytes;

const slotOf = (count: number): number => count & (ringSlots - 1);

/** One side's view of the memory, and its counter. */
class RingEnd {
  readonly control: Int32Array<SharedArrayBuffer>;
  readonly slots: Uint32Array<SharedArrayBuffer>;
  readonly messages: Uint8Array<SharedArrayBuffer>;
  readonly #signatures: Uint8Array<SharedArrayBuffer>;
  handled: number;

  constructor(memory: SharedArrayBuffer) {
    this.control = new Int32Array(memory, 0, controlWords);
    this.slots = new Uint32Array(memory, slotsAt, ringSlots * slotWords);
    this.#signatures = new Uint8Array(memory, signaturesAt, ringSlots * signatureBytes);
    this.messages = new Uint8Array(memory, messagesAt, ringBytes);
    this.handled = Atomics.load(this.control, signedWord);
  }

  handledOne(): void {
    this.handled = (this.handled + 1) | 0;
  }

  keyOf(count: number): number {
    return this.slots[slotOf(count) * slotWords] ?? 0;
  }

  messageOf(count: number): Uint8Array {
    const slot = slotOf(count) * slotWords;
    const start = this.slots[slot + 1] ?? 0;
    return this.messages.subarray(start, start + (this.slots[slot + 2] ?? 0));
  }

  signatureOf(count: number): Uint8Array {
    const start = slotOf(count) * signatureBytes;
    return this.#signatures.subarray(start, start + signatureBytes);
  }
}

/** The event loop's side. */
export class SigningRing {
  readonly memory = new SharedArrayBuffer(messagesAt + ringBytes);
  readonly #end: RingEnd;
  #put: number;
  #writeAt = 0;
  /** Bytes of each slot, including the gap before its message; and of all slots in use. */
  readonly #slotBytes = new Uint32Array(ringSlots);
  #usedBytes = 0;

  /** @param firstCount initial counter value. */
  constructor(firstCount = 0) {
    const counts = new Int32Array(this.memory, 0, controlWords);
    counts[putWord] = firstCount;
    counts[signedWord] = firstCount;
    this.#end = new RingEnd(this.memory);
    this.#put = firstCount;
  }

  /** Copies a message into the ring, for the next `wake`. @returns false if the ring is full. */
  put(key: number, message: Uint8Array): boolean {
    if (((this.#put - this.#end.handled) | 0) === ringSlots) return false;
    // Messages are contiguous: one that does not fit before the ring's end starts at offset 0.
    const start = this.#writeAt + message.length > ringBytes ? 0 : this.#writeAt;
    const gap = start === this.#writeAt ? 0 : ringBytes - this.#writeAt;
    const bytes = gap + message.length;
    if (this.#usedBytes + bytes > ringBytes) return false;
    const { control, slots, messages } = this.#end;
    messages.set(message, start);
    const slot = slotOf(this.#put);
    slots[slot * slotWords] = key;
    slots[slot * slotWords + 1] = start;
    slots[slot * slotWords + 2] = message.length;
    this.#slotBytes[slot] = bytes;
    this.#usedBytes += bytes;
    this.#writeAt = start + message.length;
    this.#put = (this.#put + 1) | 0;
    Atomics.store(control, putWord, this.#put);
    return true;
  }

  /** Wakes the thread, to process messages and its port. */
  wake(): void {
    Atomics.add(this.#end.control, signalWord, 1);
    Atomics.notify(this.#end.control, signalWord);
  }

  /** Tells the thread to leave its loop, even with messages left. */
  stop(): void {
    Atomics.store(this.#end.control, stopWord, 1);
    this.wake();
  }

  /** Passes available signatures to `each`, in message order. Each must be copied immediately. */
  take(each: (signature: Uint8Array) => void): void {
    const end = this.#end;
    const until = Atomics.load(end.control, signedWord);
    while (end.handled !== until) {
      const signature = end.signatureOf(end.handled);
      this.#usedBytes -= this.#slotBytes[slotOf(end.handled)] ?? 0;
      end.handledOne();
      each(signature);
    }
  }

  /** Copies of the messages without a taken signature, oldest first. */
  untaken(): readonly Uint8Array[] {
    const messages: Uint8Array[] = [];
    for (let count = this.#end.handled; count !== this.#put; count = (count + 1) | 0) {
      messages.push(this.#end.messageOf(count).slice());
    }
    return messages;
  }

  /** Resolves when a signature is available. */
  async more(): Promise<void> {
    await Atomics.waitAsync(this.#end.control, signedWord, this.#end.handled).value;
  }
}

/** The thread's side. */
export class SigningRingThread {
  readonly #end: RingEnd;
  /** The signal's value before the ring was last read. */
  #seen = 0;

  constructor(memory: SharedArrayBuffer) {
    this.#end = new RingEnd(memory);
  }

  get isStopped(): boolean {
    return Atomics.load(this.#end.control, stopWord) !== 0;
  }

  /**
   * Signs until the ring is empty, or stopped. @param sign writes the signature of a message by that key. @param
   * readPost reads the thread's port: first, and at intervals.
   */
  signAll(
    sign: (key: number, message: Uint8Array, signature: Uint8Array) => void,
    readPost: () => void,
  ): void {
    const end = this.#end;
    this.#seen = Atomics.load(end.control, signalWord);
    readPost();
    let untold = 0;
    while (end.handled !== Atomics.load(end.control, putWord) && !this.isStopped) {
      sign(end.keyOf(end.handled), end.messageOf(end.handled), end.signatureOf(end.handled));
      end.handledOne();
      Atomics.store(end.control, signedWord, end.handled);
      untold += 1;
      if (untold < toldTogether) continue;
      Atomics.notify(end.control, signedWord);
      untold = 0;
      readPost();
    }
    if (untold > 0) Atomics.notify(end.control, signedWord);
  }

  /** Blocks until woken, at most `sleepMsMax`; returns immediately if woken since `signAll` began. */
  sleep(): void {
    Atomics.wait(this.#end.control, signalWord, this.#seen, sleepMsMax);
  }
}
