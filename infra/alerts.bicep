// The alert rules, and who gets an e-mail. The e-mail of each names the target and links to the dashboard, where a person
// closes a circuit or replays dead letters. Each query is a file, which a test runs on telemetry as the app sends it.
param location string
param tags object
param componentId string
param email string
param dashboard string

var rules = [
  {
    name: 'no-good-run'
    title: 'no run goes well'
    severity: 1
    window: 'P1D'
    query: loadTextContent('queries/alert-no-good-run.kql')
  }
  {
    name: 'entries-lost'
    title: 'entries were lost'
    severity: 1
    window: 'PT15M'
    query: loadTextContent('queries/alert-entries-lost.kql')
  }
  {
    name: 'circuit-open'
    title: 'the circuit is open'
    severity: 2
    window: 'PT15M'
    query: loadTextContent('queries/alert-circuit-open.kql')
  }
  {
    name: 'backlog'
    title: 'entries wait for more than 15 minutes'
    severity: 2
    window: 'PT15M'
    query: loadTextContent('queries/alert-backlog.kql')
  }
  {
    name: 'dead-letters'
    title: 'entries became dead letters'
    severity: 2
    window: 'PT15M'
    query: loadTextContent('queries/alert-dead-letters.kql')
  }
  {
    name: 'dead-letters-full'
    title: 'the list of dead letters is full'
    severity: 1
    window: 'PT15M'
    query: loadTextContent('queries/alert-dead-letters-full.kql')
  }
  {
    name: 'telemetry'
    title: 'telemetry does not arrive'
    severity: 3
    window: 'PT15M'
    query: loadTextContent('queries/alert-telemetry.kql')
  }
]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(email)) {
  name: 'ag-reclaim'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'reclaim'
    enabled: true
    emailReceivers: [
      { name: 'people', emailAddress: email, useCommonAlertSchema: true }
    ]
  }
}

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: 'reclaim-${rule.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'reclaim: ${rule.title}'
      description: 'Open the dashboard: ${dashboard}'
      severity: rule.severity
      enabled: true
      scopes: [componentId]
      evaluationFrequency: 'PT5M'
      windowSize: rule.window
      autoMitigate: true
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            dimensions: [
              { name: 'target', operator: 'Include', values: ['*'] }
            ]
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: {
        actionGroups: empty(email) ? [] : [people.id]
        customProperties: { dashboard: dashboard }
      }
    }
  }
]
