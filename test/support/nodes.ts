import { randomBytes } from 'node:crypto'
import type { Caller } from '../../src/core/caller.ts'
import { type Core, createCore } from '../../src/core/core.ts'
import { Secret } from '../../src/core/secret.ts'
import type { Store } from '../../src/core/store.ts'
import type { Issued } from '../../src/core/tokens/issue.ts'
import { UNLIMITED } from '../../src/core/tokens/token.ts'
import type { UserWish } from '../../src/core/users/manage.ts'
import type { User } from '../../src/core/users/user.ts'
import { openStore } from '../../src/store/database.ts'
import { ADMIN_PASSWORD, ORIGIN } from './core.ts'
import { newPostgresDatabase, type TestDatabase } from './database.ts'

export interface Node {
  core: Core
  store: Store
  /** The number of the last change of this node that others must hear of. */
  committed(): number
  /** Whom a secret stands for on this node; throws when it is not active. */
  callerOf(secret: Secret | string): Promise<Caller>
  /** `active`, or why not. */
  state(secret: Secret | string): Promise<string>
}

/** Several nodes on one PostgreSQL database, without HTTP. */
export interface Nodes {
  database: TestDatabase
  /** One after the other, again and again. */
  next(): Node
  nodes: [Node, Node, ...Node[]]
  admin: Caller
  makeUser(wish: Partial<UserWish>): Promise<User>
  issue(owner?: User): Promise<Issued>
  /** Resolves when every node has applied all that was committed before. */
  caughtUp(): Promise<void>
  close(): Promise<void>
}

export async function openNodes(
  count: number,
  {
    pollMs = 250,
    leaseMs = 5000,
    notices = true,
    behindMs = 0,
    through = (url) => url,
  }: {
    pollMs?: number
    leaseMs?: number
    notices?: boolean
    /** How far the clock of each node is behind that of the node before it. */
    behindMs?: number
    /** Where to go instead of straight to the database. */
    through?: (url: string) => string
  } = {},
): Promise<Nodes> {
  const database = await newPostgresDatabase()
  const masterKey = new Secret(randomBytes(32).toString('base64url'))
  const adminSecret = randomBytes(32).toString('base64url')
  const nodes: Node[] = []
  let turn = 0
  let names = 0

  async function open(): Promise<Node> {
    const offsetMs = nodes.length * behindMs
    const clock = { now: () => Date.now() - offsetMs }
    const url = new Secret(through(database.env.MINTMARK_DATABASE_URL ?? ''))
    const config = { ...database.config, url, pollMs, notices } as typeof database.config
    const card = { version: '0', leaseMs }
    let committed = 0
    const onCommitted = (sequence: number) => {
      committed = sequence
    }
    const store = await openStore(config, clock, { card, onCommitted })
    const core = await createCore({ store, clock, random: randomBytes, masterKey })
    const verdict = (secret: Secret | string) =>
      core.verifier.verify(typeof secret === 'string' ? secret : secret.reveal(), { ip: ORIGIN.ip })
    return {
      core,
      store,
      committed: () => committed,
      async callerOf(secret) {
        const found = await verdict(secret)
        if (!found.active) throw new Error(`The secret is ${found.reason}.`)
        return { principal: found.principal, origin: ORIGIN }
      },
      async state(secret) {
        const found = await verdict(secret)
        return found.active ? 'active' : found.reason
      },
    }
  }

  for (let i = 0; i < count; i++) nodes.push(await open())
  const [first, second, ...others] = nodes
  if (first === undefined || second === undefined) throw new Error('Two nodes at least.')
  await first.core.bootstrap({
    username: 'root',
    password: new Secret(ADMIN_PASSWORD),
    token: new Secret(adminSecret),
  })
  const admin = await first.callerOf(adminSecret)
  const next = () => nodes[turn++ % nodes.length] ?? first

  const all: Nodes = {
    database,
    next,
    nodes: [first, second, ...others],
    admin,
    makeUser: (wish) =>
      next().core.write((w) =>
        w.createUser({ caller: admin, wish: { username: `user ${++names}`, ...wish } }),
      ),
    issue: (owner = admin.principal.user) =>
      next().core.write((w) =>
        w.issueToken({
          caller: admin,
          via: 'api',
          wish: {
            ownerId: owner.id,
            kind: 'api',
            name: `token ${++names}`,
            expires: 'never',
            limits: UNLIMITED,
          },
        }),
      ),
    async caughtUp() {
      const [row] = await database.query("select value from counter where name = 'change'")
      const end = Number(row?.value)
      while (nodes.some(({ store }) => store.changes.position() < end)) {
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    },
    async close() {
      await Promise.all(nodes.map(({ store }) => store.close()))
      await database.drop()
    },
  }
  await all.caughtUp()
  return all
}
