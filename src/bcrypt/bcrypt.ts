import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { BcryptTest } from '../core/imports/foreign.ts'

/** How long the thread stays when nothing more is asked. */
const KEEP_MS = 10_000

/**
 * bcrypt in a thread of its own, which is there only while it is needed: imported tokens ask once each.
 */
export function bcryptThread(): BcryptTest {
  const waiting = new Map<number, { resolve(matches: boolean): void; reject(error: Error): void }>()
  let worker: Worker | undefined
  let timer: NodeJS.Timeout | undefined
  let last = 0

  function started(): Worker {
    // Sources run as they are in development, compiled in the package.
    const fresh = new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url))
    fresh.unref()
    fresh.on('message', ({ id, matches }: { id: number; matches: boolean }) => {
      waiting.get(id)?.resolve(matches)
      waiting.delete(id)
      if (waiting.size === 0) rest()
    })
    fresh.on('error', (error: Error) => {
      if (worker === fresh) worker = undefined
      for (const { reject } of waiting.values()) reject(error)
      waiting.clear()
    })
    return fresh
  }

  function rest(): void {
    clearTimeout(timer)
    timer = setTimeout(() => {
      if (waiting.size > 0) return
      void worker?.terminate()
      worker = undefined
    }, KEEP_MS)
    timer.unref()
  }

  return (secret, hash) =>
    new Promise((resolve, reject) => {
      clearTimeout(timer)
      worker ??= started()
      const id = ++last
      waiting.set(id, { resolve, reject })
      worker.postMessage({ id, secret, hash })
    })
}
