import { describe, expect, it } from 'vitest'
import { anOwner, aPrincipal, aUser } from '../../../test/support/fixtures.ts'
import type { TokenId, UserId } from '../id.ts'
import type { SecretKey } from '../secret.ts'
import { type CacheEntry, verdictCache } from './cache.ts'
import { UNLIMITED } from './token.ts'

const key = (name: string) => `key of ${name}` as SecretKey
const id = (name: string) => name as TokenId

function entry(name: string, ownerId = 'owner'): CacheEntry {
  const owner = anOwner({ user: aUser({ id: ownerId as UserId }) })
  const principal = aPrincipal(owner, UNLIMITED, { id: id(name) })
  return {
    key: key(name),
    principal,
    saved: principal.token,
    addresses: undefined,
    policy: undefined,
    budget: undefined,
    plainUntilMs: 0,
    use: undefined,
    active: { active: true, principal },
    lastUsedAtMs: 0,
  }
}

/** A cache of `size` with entries of these names. */
function filled(size: number, ...names: string[]) {
  const cache = verdictCache(size)
  for (const name of names) cache.put(entry(name), cache.epoch())
  return cache
}

describe('the verdict cache', () => {
  it('finds an entry by secret and by id', () => {
    const cache = filled(10, 'a')
    expect(cache.byKey(key('a'))?.principal.token.id).toBe('a')
    expect(cache.byId(id('a'))).toBe(cache.byKey(key('a')))
    expect(cache.byKey(key('b'))).toBeUndefined()
  })

  it.each([1, 2, 3, 10, 100])('never holds more than its bound of %i', (bound) => {
    const cache = verdictCache(bound)
    for (let i = 0; i < 20 * bound; i++) {
      cache.put(entry(`${i}`, `owner ${i % 3}`), cache.epoch())
      cache.byKey(key(`${Math.floor(i / 2)}`))
      expect(cache.size()).toBeLessThanOrEqual(Math.max(2, bound))
    }
  })

  it('forgets with a token all that come from it, and no others', () => {
    const cache = filled(10, 'root', 'other')
    const child = entry('child')
    child.principal = { ...child.principal, ancestorIds: [id('parent'), id('root')] }
    cache.put(child, cache.epoch())
    cache.apply([{ subject: 'token', id: 'root' }])
    expect(cache.byId(id('root'))).toBeUndefined()
    expect(cache.byKey(key('child'))).toBeUndefined()
    expect(cache.byId(id('other'))).toBeDefined()
    cache.put(child, cache.epoch())
    cache.apply([{ subject: 'token', id: 'parent' }])
    expect(cache.byId(id('child'))).toBeUndefined()
  })

  it('forgets what nobody asked for, and keeps what somebody did', () => {
    const cache = filled(4, 'a', 'b')
    for (const name of ['c', 'd', 'e', 'f', 'g', 'h']) {
      expect(cache.byKey(key('a'))).toBeDefined()
      cache.put(entry(name), cache.epoch())
    }
    expect(cache.byKey(key('a'))).toBeDefined()
    expect(cache.byKey(key('b'))).toBeUndefined()
    expect(cache.byId(id('b'))).toBeUndefined()
  })

  it('what fell out of it cannot be found by id either, nor does its owner remember it', () => {
    const cache = verdictCache(4)
    for (let i = 0; i < 100; i++) cache.put(entry(`${i}`), cache.epoch())
    const left = Array.from({ length: 100 }, (_, i) => `${i}`).filter((n) => cache.byId(id(n)))
    expect(left).toHaveLength(cache.size())
    cache.apply([{ subject: 'user', id: 'owner' }])
    expect(cache.size()).toBe(0)
    expect(left.filter((name) => cache.byId(id(name)))).toEqual([])
  })

  it('lets what leaves it be replaced, and takes nothing else along when that has gone', () => {
    const cache = verdictCache(8)
    for (let i = 0; i < 9; i++) cache.put(entry(`${i}`), cache.epoch())
    // The first ones are leaving; one of them is asked for again.
    const again = entry('3')
    cache.put(again, cache.epoch())
    for (let i = 10; i < 13; i++) cache.put(entry(`${i}`), cache.epoch())
    expect(cache.byKey(key('3'))).toBe(again)
    expect(cache.byId(id('3'))).toBe(again)
  })

  it('replaces an entry of the same token, also when its key has changed', () => {
    const cache = filled(10, 'a')
    const renewed = { ...entry('a'), key: key('a under a new server key') }
    cache.put(renewed, cache.epoch())
    expect(cache.byKey(key('a'))).toBeUndefined()
    expect(cache.byId(id('a'))).toBe(renewed)
    expect(cache.size()).toBe(1)
  })
})

describe('invalidation', () => {
  it('by token takes that one', () => {
    const cache = filled(10, 'a', 'b')
    cache.apply([{ subject: 'token', id: 'a' }])
    expect(cache.byKey(key('a'))).toBeUndefined()
    expect(cache.byId(id('a'))).toBeUndefined()
    expect(cache.byKey(key('b'))).toBeDefined()
  })

  it('by owner takes all of the owner’s, in both generations', () => {
    const cache = verdictCache(6)
    for (let i = 0; i < 5; i++) cache.put(entry(`${i}`, i % 2 ? 'odd' : 'even'), cache.epoch())
    expect(cache.size()).toBe(5)
    cache.apply([{ subject: 'user', id: 'even' }])
    expect([0, 1, 2, 3, 4].filter((i) => cache.byKey(key(`${i}`)))).toEqual([1, 3])
  })

  it.each(['group', 'role', 'key', 'policy'] as const)('by %s takes everything', (subject) => {
    const cache = filled(10, 'a', 'b')
    cache.apply([{ subject, id: 'x' }])
    expect([cache.size(), cache.byId(id('a')), cache.byKey(key('b'))]).toEqual([
      0,
      undefined,
      undefined,
    ])
  })

  it('by what is not there does no harm', () => {
    const cache = filled(10, 'a')
    cache.apply([
      { subject: 'token', id: 'b' },
      { subject: 'user', id: 'nobody' },
    ])
    expect(cache.size()).toBe(1)
  })
})

describe('an old yes', () => {
  it('that was loaded before an invalidation is not kept after it', () => {
    const cache = verdictCache(10)
    const loadedAt = cache.epoch()
    cache.apply([{ subject: 'token', id: 'a' }])
    cache.put(entry('a'), loadedAt)
    expect(cache.byKey(key('a'))).toBeUndefined()
    cache.put(entry('a'), cache.epoch())
    expect(cache.byKey(key('a'))).toBeDefined()
  })

  it('nor after the cache was emptied', () => {
    const cache = verdictCache(10)
    const loadedAt = cache.epoch()
    cache.clear()
    cache.put(entry('a'), loadedAt)
    expect(cache.size()).toBe(0)
  })
})
