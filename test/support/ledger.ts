import type { Dice } from './dice.ts'
import type { Rest } from './rest.ts'

export interface HeldUser {
  id: string
  username: string
  state: 'active' | 'disabled' | 'deleted'
}

export interface HeldToken {
  id: string
  familyId: string
  name: string
  secret: string
  owner: HeldUser
  state: 'active' | 'revoked' | 'superseded'
}

/** What the server has acknowledged: what must be there after every crash, and nothing else. */
export interface Ledger {
  users: HeldUser[]
  tokens: HeldToken[]
}

/** One change, on its way to the server. */
export interface Attempt {
  what: string
  /** Asks for the change; the ledger follows once it is acknowledged. */
  send(rest: Rest): Promise<void>
  /**
   * For a change that was cut off: finds out whether it was carried out, and brings the ledger there.
   * Throws when it is neither wholly there nor wholly absent. Returns whether it was there.
   */
  settle(rest: Rest): Promise<boolean>
}

/** Whose ledger it is and what decides; each client changes only what it holds itself. */
export interface Hand {
  ledger: Ledger
  dice: Dice
  /** A name that nobody has used. */
  newName(): string
}

export const OPERATIONS = [
  'create user',
  'create',
  'rotate',
  'revoke',
  'rename',
  'disable user',
  'enable user',
  'delete user',
] as const
type Operation = (typeof OPERATIONS)[number]

/** How often each is tried, in parts. */
const WEIGHTS: [Operation, number][] = [
  ['create user', 2],
  ['create', 8],
  ['rotate', 6],
  ['revoke', 4],
  ['rename', 3],
  ['disable user', 1],
  ['enable user', 2],
  ['delete user', 0.4],
]

/** Chooses the next change; undefined when the dice fell on one that nothing is there for. */
export function nextAttempt(hand: Hand): Attempt | undefined {
  const { ledger, dice } = hand
  const users = (state: HeldUser['state']) => ledger.users.filter((user) => user.state === state)
  const user = dice.pick(users('active'))
  if (user === undefined) return createUser(hand)
  const live = ledger.tokens.filter(({ state, owner }) => state === 'active' && owner === user)
  const token = dice.pick(live)
  const operation = weighted(dice)
  if (operation === 'create user') return createUser(hand)
  if (operation === 'create') return createToken(hand, user)
  if (operation === 'disable user') return setActive(user, false)
  if (operation === 'delete user') return deleteUser(hand, user)
  if (operation === 'enable user') {
    const disabled = dice.pick(users('disabled'))
    return disabled && setActive(disabled, true)
  }
  if (token === undefined) return undefined
  if (operation === 'rotate') return rotateToken(hand, token)
  return operation === 'revoke' ? revokeToken(hand, token) : renameToken(hand, token)
}

function weighted(dice: Dice): Operation {
  const total = WEIGHTS.reduce((sum, [, weight]) => sum + weight, 0)
  let rest = (dice.number(1_000_000) / 1_000_000) * total
  for (const [operation, weight] of WEIGHTS) {
    rest -= weight
    if (rest < 0) return operation
  }
  return 'create'
}

function createUser({ ledger, newName }: Hand): Attempt {
  const username = newName()
  const hold = ({ id }: { id: string }) => ledger.users.push({ id, username, state: 'active' })
  return {
    what: 'create user',
    async send(rest) {
      hold((await rest.call('POST', '/users', { body: { username } })).body)
    },
    async settle(rest) {
      const { body } = await rest.call('GET', `/users?text=${username}`)
      const [found, second] = body.items.filter((user: HeldUser) => user.username === username)
      if (second !== undefined) throw new Error(`There are two users "${username}".`)
      if (found !== undefined) hold(found)
      return found !== undefined
    },
  }
}

function createToken({ ledger, newName }: Hand, owner: HeldUser): Attempt {
  const name = newName()
  const request = {
    body: { ownerId: owner.id, name, roles: null, scopes: null, groups: null },
    idempotencyKey: `create-${name}`,
  }
  const hold = ({ id, familyId, secret }: HeldToken) =>
    ledger.tokens.push({ id, familyId, name, secret, owner, state: 'active' })
  return {
    what: 'create',
    async send(rest) {
      hold((await rest.call('POST', '/tokens', request)).body)
    },
    async settle(rest) {
      const { body } = await rest.call('GET', `/tokens?ownerId=${owner.id}&text=${name}`)
      const found = body.items.filter((token: HeldToken) => token.name === name)
      // The key was saved with the token or not at all, so the retry must know just as much.
      const again = await rest.call('POST', '/tokens', request)
      if (found.length !== Number(again.replayed)) {
        throw new Error(`${found.length} tokens "${name}", but replayed is ${again.replayed}.`)
      }
      hold(again.body)
      return again.replayed
    },
  }
}

function rotateToken({ ledger }: Hand, old: HeldToken): Attempt {
  const path = `/tokens/${old.id}`
  const idempotencyKey = `rotate-${old.id}`
  const body = { overlapSeconds: 0 }
  const hold = ({ id, familyId, secret }: HeldToken) => {
    old.state = 'superseded'
    ledger.tokens.push({ ...old, id, familyId, secret, state: 'active' })
  }
  return {
    what: 'rotate',
    async send(rest) {
      hold((await rest.call('POST', `${path}/rotate`, { body, idempotencyKey })).body)
    },
    async settle(rest) {
      const { body: shown } = await rest.call('GET', path)
      const oldIsActive = await rest.isActive(old.secret)
      const again = await rest.call('POST', `${path}/rotate`, { body, idempotencyKey })
      // Exactly one of the two was alive: the old one, or a successor that the retry hands out again.
      if (oldIsActive === again.replayed || (shown.state === 'active') !== oldIsActive) {
        throw new Error(
          `Half rotated ${old.id}: ${shown.state}, old active ${oldIsActive}, replayed ${again.replayed}.`,
        )
      }
      hold(again.body)
      return again.replayed
    },
  }
}

function revokeToken({ ledger }: Hand, token: HeldToken): Attempt {
  const family = () => ledger.tokens.filter(({ familyId }) => familyId === token.familyId)
  const bury = () => {
    for (const member of family()) member.state = 'revoked'
  }
  return {
    what: 'revoke',
    async send(rest) {
      const { body } = await rest.call('POST', `/tokens/${token.id}/revoke`)
      const expected = family().map(({ id }) => id)
      if (body.revoked.toSorted().join() !== expected.toSorted().join()) {
        throw new Error(`Revoked ${body.revoked.join()} instead of the family ${expected.join()}.`)
      }
      bury()
    },
    async settle(rest) {
      const { body } = await rest.call('GET', `/tokens/${token.id}`)
      if (body.state === 'revoked') bury()
      return body.state === 'revoked'
    },
  }
}

function renameToken({ newName }: Hand, token: HeldToken): Attempt {
  const name = newName()
  return {
    what: 'rename',
    async send(rest) {
      await rest.call('PATCH', `/tokens/${token.id}`, { body: { name } })
      token.name = name
    },
    async settle(rest) {
      const { body } = await rest.call('GET', `/tokens/${token.id}`)
      const done = body.name === name
      if (done) token.name = name
      return done
    },
  }
}

function setActive(user: HeldUser, active: boolean): Attempt {
  const state = active ? 'active' : 'disabled'
  return {
    what: active ? 'enable user' : 'disable user',
    async send(rest) {
      await rest.call('PATCH', `/users/${user.id}`, { body: { active } })
      user.state = state
    },
    async settle(rest) {
      const { body } = await rest.call('GET', `/users/${user.id}`)
      const done = body.active === active
      if (done) user.state = state
      return done
    },
  }
}

function deleteUser({ ledger }: Hand, user: HeldUser): Attempt {
  const bury = () => {
    user.state = 'deleted'
    for (const token of ledger.tokens) if (token.owner === user) token.state = 'revoked'
  }
  return {
    what: 'delete user',
    async send(rest) {
      await rest.call('DELETE', `/users/${user.id}`)
      bury()
    },
    async settle(rest) {
      const { status } = await rest.call('GET', `/users/${user.id}`, { accept: 404 })
      if (status === 404) bury()
      return status === 404
    },
  }
}
