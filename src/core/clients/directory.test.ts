import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openTestCore, type TestCore } from '../../../test/support/core.ts'
import type { ClientId } from '../id.ts'
import { ANY, type ChangeListener } from '../store.ts'
import type { Client } from './client.ts'
import { type ClientDirectory, clientDirectory } from './directory.ts'
import type { ClientWish } from './manage.ts'

let t: TestCore
let made = 0
beforeAll(async () => {
  t = await openTestCore()
})
afterAll(() => t.close())

const make = (wish: Partial<ClientWish> = {}) =>
  t.write((w) =>
    w.createClient({
      caller: t.admin,
      wish: { name: `client ${++made}`, grants: ['client_credentials'], ...wish },
    }),
  )
const edit = (id: string, change: { name?: string; active?: boolean }) =>
  t.write((w) => w.updateClient({ caller: t.admin, id, edit: change }))
const secretOf = async ({ client, secret }: Awaited<ReturnType<typeof make>>) => ({
  client,
  secret: secret?.reveal() ?? '',
})

/** A directory of its own, with a count of what it read and a gate before each answer. */
function watched(options: { maxEntries?: number } = {}) {
  const { clients, onChange } = t.store
  let reads = 0
  let gate = Promise.resolve()
  const slowly = async (answer: Promise<Client | undefined>) => {
    reads++
    const client = await answer
    await gate
    return client
  }
  const directory = clientDirectory({
    store: {
      clients: {
        ...clients,
        byId: (id) => slowly(clients.byId(id)),
        byClientId: (id) => slowly(clients.byClientId(id)),
      },
      onChange,
    },
    keyring: t.core.keyring,
    ...options,
  })
  return {
    directory,
    reads: () => reads,
    /** Holds all answers until the returned function is called. */
    hold() {
      let open = () => {}
      gate = new Promise((resolve) => {
        open = resolve
      })
      return open
    },
  }
}

describe('the directory of clients', () => {
  it('finds a client by its client id and by its id, and reads it once', async () => {
    const { client } = await make()
    const { directory, reads } = watched()
    for (let i = 0; i < 3; i++) {
      expect(await directory.byClientId(client.clientId)).toEqual(client)
      expect(await directory.byId(client.id)).toEqual(client)
    }
    expect(reads()).toBe(1)
  })

  it('does not remember that there was none', async () => {
    const { directory } = watched()
    expect(await directory.byClientId('comes-later')).toBeUndefined()
    expect(await directory.byId('comes-later' as ClientId)).toBeUndefined()
    const { client } = await make({ clientId: 'comes-later' })
    expect(await directory.byClientId('comes-later')).toEqual(client)
    expect(await directory.byClientId('COMES-LATER')).toBeUndefined()
  })

  it('shows a change when the call that made it has returned', async () => {
    const { client } = await make({ clientId: 'changing' })
    const { directory } = watched()
    await directory.byId(client.id)
    await edit(client.id, { name: 'renamed', active: false })
    expect(await directory.byClientId('changing')).toMatchObject({ name: 'renamed', active: false })
    await t.write((w) => w.deleteClient({ caller: t.admin, id: client.id }))
    expect(await directory.byClientId('changing')).toBeUndefined()
    expect(await directory.byId(client.id)).toBeUndefined()
    const next = await make({ clientId: 'changing' })
    expect(await directory.byClientId('changing')).toEqual(next.client)
  })

  it('forgets every client when nobody can tell which of them changed', async () => {
    const { client } = await make()
    let tell: ChangeListener = () => {}
    const { clients } = t.store
    const onChange = (listener: ChangeListener) => {
      tell = listener
      return () => {}
    }
    const directory = clientDirectory({ store: { clients, onChange }, keyring: t.core.keyring })
    const activeNow = async () => [
      (await directory.byId(client.id))?.active,
      (await directory.byClientId(client.clientId))?.active,
    ]
    expect(await activeNow()).toEqual([true, true])
    await edit(client.id, { active: false })
    expect(await activeNow()).toEqual([true, true])
    await tell([{ subject: 'client', id: ANY }])
    expect(await activeNow()).toEqual([false, false])
  })

  it('a slow read does not put an old answer back', async () => {
    const { client } = await make()
    const { directory, hold } = watched()
    const open = hold()
    const slow = directory.byId(client.id)
    // The read has its row, but not yet delivered it, when the client is disabled.
    await edit(client.id, { active: false })
    open()
    await slow
    expect(await directory.byId(client.id)).toMatchObject({ active: false })
  })

  it('stays within its bound, and forgets the oldest first', async () => {
    const { directory, reads } = watched({ maxEntries: 3 })
    const ids: ClientId[] = []
    for (let i = 0; i < 5; i++) ids.push((await make()).client.id)
    for (const id of ids) await directory.byId(id)
    expect(reads()).toBe(5)
    for (const id of ids.slice(2)) await directory.byId(id)
    expect(reads()).toBe(5)
    await directory.byId(ids[0] as ClientId)
    expect(reads()).toBe(6)
  })

  it('is what the core offers', async () => {
    const { client } = await make()
    const directory: ClientDirectory = t.core.clients
    expect(await directory.byClientId(client.clientId)).toEqual(client)
  })
})

describe('secretMatches', () => {
  it('knows the secret, and nothing like it', async () => {
    const { client, secret } = await secretOf(await make())
    const { directory } = watched()
    expect(secret).toMatch(/^mm_client_[0-9A-Za-z]{49}$/)
    expect(await directory.secretMatches(client, secret)).toBe(true)
    for (const wrong of ['', ' ', `${secret} `, secret.slice(0, -1), secret.toUpperCase(), 'x']) {
      expect(await directory.secretMatches(client, wrong)).toBe(false)
    }
    expect(await directory.secretMatches(undefined, secret)).toBe(false)
    const other = await make()
    expect(await directory.secretMatches(other.client, secret)).toBe(false)
  })

  it('takes the new secret and no longer the old one, whatever client object it is given', async () => {
    const { client, secret } = await secretOf(await make())
    const { directory } = watched()
    expect(await directory.secretMatches(client, secret)).toBe(true)
    const next = await t.write((w) => w.replaceClientSecret({ caller: t.admin, id: client.id }))
    expect(await directory.secretMatches(client, secret)).toBe(false)
    expect(await directory.secretMatches(client, next.secret.reveal())).toBe(true)
  })

  it('refuses a client that is disabled, deleted, public or signs with keys', async () => {
    const { client, secret } = await secretOf(await make())
    const { directory } = watched()
    await edit(client.id, { active: false })
    expect(await directory.secretMatches(client, secret)).toBe(false)
    await edit(client.id, { active: true })
    expect(await directory.secretMatches(client, secret)).toBe(true)
    await t.write((w) => w.deleteClient({ caller: t.admin, id: client.id }))
    expect(await directory.secretMatches(client, secret)).toBe(false)
    const open = await make({
      type: 'public',
      grants: ['authorization_code'],
      redirectUris: ['https://app.example.com/'],
    })
    expect(open.secret).toBeUndefined()
    for (const given of ['', secret]) {
      expect(await directory.secretMatches(open.client, given)).toBe(false)
    }
  })

  it('keeps to the pepper that the secret was stored under, and fails closed without it', async () => {
    const { client, secret } = await secretOf(await make())
    const { clients, onChange } = t.store
    const { keyring } = t.core
    const directory = clientDirectory({
      store: { clients, onChange },
      keyring: { pepper: keyring.pepper, peppers: () => [] },
    })
    expect(await directory.secretMatches(client, secret)).toBe(false)
  })
})
