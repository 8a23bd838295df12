import { describe, expect, it } from 'vitest'
import { type Found, type Operation, problemsOf } from './history.ts'

const at = (beganMs: number, endedMs: number, node = 0) => ({ beganMs, endedMs, node })
const NEVER = Number.POSITIVE_INFINITY
type Span = ReturnType<typeof at>

const create = (span: Span, token = 'a'): Operation => ({
  what: 'create',
  name: 'n',
  token,
  ...span,
})
const revoke = (span: Span, { token = 'a', acknowledged = true } = {}): Operation => ({
  what: 'revoke',
  token,
  acknowledged,
  ...span,
})
const rotate = (
  span: Span,
  { token = 'a', successor = 'b', overlapMs = 0, acknowledged = true } = {},
): Operation => ({ what: 'rotate', token, successor, overlapMs, acknowledged, ...span })
const verify = (span: Span, active: boolean, { token = 'a', strong = false } = {}): Operation => ({
  what: 'verify',
  token,
  active,
  strong,
  ...span,
})
const yes = (span: Span, more = {}) => verify(span, true, more)
const no = (span: Span, more = {}) => verify(span, false, more)

const MADE = create(at(0, 1))

function kinds(
  operations: Operation[],
  { skewMs = 0, found = undefined as Found[] | undefined } = {},
) {
  const history = { operations: [MADE, ...operations], leaseMs: 1000, skewMs, found }
  return problemsOf(history).map((problem) => problem.slice(0, problem.indexOf(':')))
}

describe('a yes', () => {
  it('after an acknowledged revocation is stale', () => {
    expect(kinds([revoke(at(10, 20)), yes(at(21, 22, 2))])).toEqual(['Stale yes'])
  })

  it('while it was being revoked is not, however late it comes', () => {
    expect(kinds([revoke(at(10, 20)), yes(at(19, 500))])).toEqual([])
  })

  it('after a revocation that not all have acknowledged is stale after the lease', () => {
    const unheard = revoke(at(10, 20), { acknowledged: false })
    expect(kinds([unheard, yes(at(900, 901))])).toEqual([])
    expect(kinds([unheard, yes(at(1021, 1022))])).toEqual(['Stale yes'])
    expect(kinds([unheard, yes(at(21, 22), { strong: true })])).toEqual(['Stale yes'])
  })

  it('after a revocation that was never answered is none, ever', () => {
    expect(kinds([revoke(at(10, NEVER)), yes(at(9000, 9001))])).toEqual([])
  })

  it('after any token of the family was revoked is stale', () => {
    const family = [rotate(at(5, 6)), revoke(at(10, 20), { token: 'b' })]
    expect(kinds([...family, yes(at(21, 22))])).toContain('Stale yes')
    expect(kinds([...family, yes(at(21, 22), { token: 'b' })])).toEqual(['Stale yes'])
  })

  it('of an old secret ends with the rotation or its overlap', () => {
    expect(kinds([rotate(at(10, 20)), yes(at(21, 22))])).toEqual(['Stale yes'])
    const overlapping = rotate(at(10, 20), { overlapMs: 500 })
    expect(kinds([overlapping, yes(at(519, 520))])).toEqual([])
    expect(kinds([overlapping, yes(at(521, 522))])).toEqual(['Stale yes'])
    expect(kinds([overlapping, yes(at(521, 522))], { skewMs: 100 })).toEqual([])
  })

  it('of an old secret ends, overlap or not, when its successor is rotated at once', () => {
    const overlapping = rotate(at(10, 20), { overlapMs: 5000 })
    const atOnce = rotate(at(30, 40), { token: 'b', successor: 'c' })
    expect(kinds([overlapping, atOnce, yes(at(41, 42))])).toEqual(['Stale yes'])
    expect(kinds([overlapping, atOnce, yes(at(41, 42), { token: 'c' })])).toEqual([])
  })

  it('after a no on the same node, or much later on another, is a revival', () => {
    const unknown = revoke(at(10, NEVER))
    expect(kinds([unknown, no(at(20, 21)), yes(at(22, 23))])).toEqual(['Revived'])
    expect(kinds([unknown, no(at(20, 21)), yes(at(22, 23, 1))])).toEqual([])
    expect(kinds([unknown, no(at(20, 21)), yes(at(1022, 1023, 1))])).toEqual(['Revived'])
  })
})

describe('a no', () => {
  it('to a token that nobody tried to end is wrong', () => {
    expect(kinds([no(at(5, 6))])).toEqual(['Refused alive'])
    expect(kinds([no(at(5, 6)), revoke(at(10, 20))])).toEqual(['Refused alive'])
  })

  it('is right as soon as somebody tries to', () => {
    expect(kinds([no(at(5, 12)), revoke(at(10, NEVER))])).toEqual([])
  })

  it('before the overlap has ended is wrong', () => {
    const overlapping = rotate(at(10, 20), { overlapMs: 500 })
    expect(kinds([overlapping, no(at(30, 509))])).toEqual(['Refused alive'])
    expect(kinds([overlapping, no(at(30, 511))])).toEqual([])
    expect(kinds([overlapping, no(at(30, 450))], { skewMs: 100 })).toEqual([])
  })
})

describe('a rotation', () => {
  it('has one successor', () => {
    const twice = [rotate(at(10, 20)), rotate(at(11, 21), { successor: 'c' })]
    expect(kinds(twice)).toEqual(['Two successors'])
  })

  it('of what was revoked before it began is wrong', () => {
    expect(kinds([revoke(at(10, 20)), rotate(at(21, 22))])).toEqual(['Rotated after its end'])
    expect(kinds([revoke(at(10, 20)), rotate(at(19, 22))])).toEqual([])
  })
})

describe('in the end', () => {
  const a: Found = { id: 'a', familyId: 'a', name: 'n', revoked: false, supersededBy: undefined }
  const b = { ...a, id: 'b' }
  const end = (operations: Operation[], ...found: Found[]) => kinds(operations, { found })

  it('everything acknowledged is there', () => {
    expect(end([], a)).toEqual([])
    expect(end([])).toEqual(['Missing in the end'])
    expect(end([revoke(at(1, 2))], a)).toEqual(['Forgotten'])
    expect(end([revoke(at(1, 2))], { ...a, revoked: true })).toEqual([])
    expect(end([rotate(at(1, 2))], { ...a, supersededBy: 'b' }, b)).toEqual([])
    expect(end([rotate(at(1, 2))], a)).toEqual(['Missing in the end', 'Forgotten'])
  })

  it('what was not acknowledged is whole or absent', () => {
    const unknown: Operation = {
      what: 'create',
      name: 'x',
      token: undefined,
      ...at(1, NEVER),
    }
    const x = { ...a, id: 'x', familyId: 'x', name: 'x' }
    expect(end([unknown], a)).toEqual([])
    expect(end([unknown], a, x)).toEqual([])
    expect(end([unknown], a, x, { ...x, id: 'y', familyId: 'y' })).toEqual(['Made twice'])
    expect(end([], { ...a, supersededBy: 'b' })).toEqual(['Half rotated'])
    expect(end([], a, b)).toEqual(['Made twice'])
  })
})
