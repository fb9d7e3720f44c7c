// Recordings that the server does not have yet, kept in the browser's database so that closing the page loses none.

const STORE = "takes";

const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/**
 * The takes of one collection. A take is {id, transcript, bytes, rate, seconds, state, what}: `bytes` a WAV file, `state`
 *   "draft"    not kept by the speaker yet,
 *   "waiting"  kept, to be sent,
 *   "refused"  kept, but the server does not take it; `what` is why.
 * Where the browser has no database they live in memory, and `lasting` is false.
 */
export class Takes {
  #database = null;
  #memory = new Map();

  /** @param {string} collection tells collections apart that are served at the same address, one after the other */
  static async open(collection) {
    const takes = new Takes();
    try {
      const request = indexedDB.open(`sottovoce ${collection}`, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
      takes.#database = await settled(request);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error; // a private window may have none
    }
    return takes;
  }

  get lasting() {
    return this.#database !== null;
  }

  /** Resolves when the take is on the disk. */
  async put(take) {
    if (!this.#database) this.#memory.set(take.id, take);
    else await this.#change((store) => store.put(take));
  }

  async delete(id) {
    if (!this.#database) this.#memory.delete(id);
    else await this.#change((store) => store.delete(id));
  }

  /** All takes of a state, in the order of their ids. */
  async all(state) {
    const takes = this.#database
      ? await settled(this.#database.transaction(STORE).objectStore(STORE).getAll())
      : [...this.#memory.values()];
    return takes.filter((take) => take.state === state);
  }

  #change(act) {
    const transaction = this.#database.transaction(STORE, "readwrite", { durability: "strict" });
    act(transaction.objectStore(STORE));
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  }
}
