// A topic for reclaim's own events. The app sends them with the topic's key, so the key and the address are secrets.
param name string
param location string
param tags object
param vaultName string

resource topic 'Microsoft.EventGrid/topics@2025-02-15' = {
  name: name
  location: location
  tags: tags
  properties: {
    inputSchema: 'CloudEventSchemaV1_0'
    minimumTlsVersionAllowed: '1.2'
    publicNetworkAccess: 'Enabled'
  }
}

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' existing = {
  name: vaultName
}

resource webhookUrl 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = {
  parent: vault
  name: 'alert-webhook-url'
  properties: { value: topic.properties.endpoint }
}

resource webhookKey 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = {
  parent: vault
  name: 'alert-webhook-key'
  properties: { value: topic.listKeys().key1 }
}
