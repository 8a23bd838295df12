import { describe, expect, it } from 'vitest'
import { bytesText, createProgress } from './progress.ts'

/** A terminal that keeps what was drawn, and a clock that is moved. */
function stage({ isTTY = true } = {}) {
  const drawn: string[] = []
  const clock = { nowMs: 0 }
  const stderr = { isTTY, columns: 80, write: (text: string) => drawn.push(text) > 0 }
  return { drawn, clock, terminal: { stderr: stderr as never, now: () => clock.nowMs } }
}

describe('progress', () => {
  it('is one line with share, count, bytes and rate, some times a second', () => {
    const { drawn, clock, terminal } = stage()
    const progress = createProgress(terminal, { total: { bytes: 4e9 }, what: 'files' })
    progress.show({ files: 1, bytes: 1e6 })
    clock.nowMs = 2000
    progress.show({ files: 20, bytes: 1e9 })
    clock.nowMs = 2050
    progress.show({ files: 21, bytes: 1.1e9 })
    expect(drawn).toEqual([
      '\r\u001b[K[######------------------]  25 %  20 files  1.0 GB  500 MB/s',
    ])
    progress.clear()
    expect(drawn.at(-1)).toBe('\r\u001b[K')
  })

  it('counts objects where their bytes are not known, and has no bar where nothing is', () => {
    const { drawn, clock, terminal } = stage()
    const some = createProgress(terminal, { total: { files: 10 }, what: 'objects' })
    const unknown = createProgress(terminal, { total: {}, what: 'files' })
    clock.nowMs = 1000
    some.show({ files: 20, bytes: 500 })
    unknown.show({ files: 0, bytes: 500 })
    expect(drawn[0]).toContain('100 %  20 objects  500 B  500 B/s')
    expect(drawn[1]).toBe('\r\u001b[K0 files  500 B  500 B/s')
  })

  it('is silent where nobody watches, and leaves no trace where there was no time to draw', () => {
    const quiet = stage({ isTTY: false })
    const none = createProgress(quiet.terminal, { total: {}, what: 'files' })
    quiet.clock.nowMs = 5000
    none.show({ files: 1, bytes: 1 })
    none.clear()
    expect(quiet.drawn).toEqual([])
    const short = stage()
    createProgress(short.terminal, { total: {}, what: 'files' }).clear()
    expect(short.drawn).toEqual([])
  })

  it('says bytes as people do', () => {
    expect([0, 999, 1000, 99_400, 999_600, 1.25e9, 3e15].map(bytesText)).toEqual([
      '0 B',
      '999 B',
      '1.0 kB',
      '99.4 kB',
      '1.0 MB',
      '1.3 GB',
      '3000 TB',
    ])
  })
})
