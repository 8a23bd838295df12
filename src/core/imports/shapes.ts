import type { Store } from '../store.ts'
import type { Shape } from './store.ts'

/** Printable ASCII that fits into any header, which our own formats need not be. */
const FOREIGN = /^[!-+\--~]{16,512}$/
/**
 * Beginnings of our own secrets, and of the texts that are digested for a token whose secret we do not
 * know. Presented, one of those would open the token to whoever has a hash or an id.
 */
const RESERVED = /^(?:mm_|sha256:|import:|jwt:)/

/** Whether `text` may be imported, and presented, as a secret that is spelled unlike ours. */
export function mayBeForeign(text: string): boolean {
  return !RESERVED.test(text) && FOREIGN.test(text)
}

/** What imported secrets look like, in memory: garbage is refused without a visit to the store. */
export interface Shapes {
  /** Whether an imported secret may be spelled like this. */
  mayKnow(secret: string): boolean
  /** Whether any is looked for by the digest of its hash. */
  hasSha256(): boolean
  /** Lengths of the beginnings by which slow hashes are found. */
  hintLengths(): readonly number[]
}

/** Loads the shapes and follows their changes. */
export async function openShapes(store: Store): Promise<Shapes> {
  let plain = new Set<number>()
  let hints: number[] = []
  let sha256 = false

  const lengths = (shapes: readonly Shape[], kind: Shape['kind']) =>
    shapes.filter((shape) => shape.kind === kind).map(({ length }) => length)
  async function load(): Promise<void> {
    const shapes = await store.imports.shapes()
    plain = new Set(lengths(shapes, 'plain'))
    hints = lengths(shapes, 'hint').sort((a, b) => a - b)
    sha256 = lengths(shapes, 'sha256').length > 0
  }
  store.onChange((changes) =>
    changes.some(({ subject }) => subject === 'import') ? load() : undefined,
  )
  await load()
  return {
    mayKnow: (secret) =>
      (sha256 || plain.has(secret.length) || hints.some((length) => length < secret.length)) &&
      mayBeForeign(secret),
    hasSha256: () => sha256,
    hintLengths: () => hints,
  }
}
