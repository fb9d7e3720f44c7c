// Recordings that the server does not have yet, kept in the browser's database so that closing the page loses none.

const STORE = "takes";

const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** A unique key; later ones sort after earlier ones. */
export const newKey = (id) => `${Date.now()} ${id}`;

/**
 * The takes of one collection. A take is {key, id, transcript, bytes, seconds, state, what}: `id` of the utterance, `bytes`
 * a WAV file, `state`
 *   "draft"    not kept by the speaker yet,
 *   "waiting"  kept, to be sent,
 *   "refused"  kept, but the server does not accept it; `what` is why.
 * If the browser has no database, or no room in it, they stay in memory.
 */
export class Takes {
  #database = null;
  #memory = new Map();

  /** @param {string} collection a unique name, since one address may serve several collections over time */
  static async open(collection) {
    const takes = new Takes();
    try {
      const request = indexedDB.open(`sottovoce ${collection}`, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key" });
      takes.#database = await settled(request);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error; // a private window may have none
    }
    return takes;
  }

  /** Whether all takes survive closing the page. */
  get lasting() {
    return this.#memory.size === 0;
  }

  /** Resolves when the take is on disk, or in memory if there is no room on disk. */
  async put(take) {
    if (this.#database) {
      try {
        await this.#change((store) => store.put(take));
        this.#memory.delete(take.key); // there may be room again
        return;
      } catch (error) {
        if (!(error instanceof DOMException)) throw error;
      }
    }
    this.#memory.set(take.key, take);
  }

  async delete(key) {
    this.#memory.delete(key);
    if (this.#database) await this.#change((store) => store.delete(key));
  }

  /** All takes in a state, oldest first. */
  async all(state) {
    const stored = this.#database ? await settled(this.#database.transaction(STORE).objectStore(STORE).getAll()) : [];
    const known = new Map([...stored.map((take) => [take.key, take]), ...this.#memory]);
    return [...known.values()].filter((take) => take.state === state);
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
